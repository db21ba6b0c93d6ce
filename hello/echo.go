package hello

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"serai/hello/echo"
)

// echoService is the gRPC service.
type echoService struct{ *service }

var _ echo.EchoHandler = echoService{}

// handleGRPC adds the gRPC services: echo, health and reflection.
func (s *service) handleGRPC(m *http.ServeMux) {
	m.Handle(echo.NewEchoHandler(echoService{s}, connect.WithReadMaxBytes(maxBody)))
	m.Handle(grpchealth.NewHandler(grpchealth.NewStaticChecker(echo.EchoName)))
	reflector := grpcreflect.NewStaticReflector(echo.EchoName, grpchealth.HealthV1ServiceName)
	m.Handle(grpcreflect.NewHandlerV1(reflector))
	m.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
}

// Say answers once, or fails if the request says so.
func (s echoService) Say(_ context.Context, r *connect.Request[echo.SayRequest]) (*connect.Response[echo.SayResponse], error) {
	a, err := s.reply(r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}

func (s echoService) reply(m *echo.SayRequest) (*echo.SayResponse, error) {
	if code := m.GetCode(); code != 0 {
		return nil, connect.NewError(connect.Code(code), errors.New(m.GetText()))
	}
	return s.say(m.GetText()), nil
}

func (s echoService) say(text string) *echo.SayResponse {
	return &echo.SayResponse{Text: text, Name: s.Name, Alloc: s.Alloc, Node: s.Node}
}

// errStopping ends calls that would never end: clients may try again, with another
// instance.
var errStopping = connect.NewError(connect.CodeUnavailable, errors.New("the service stops"))

// Repeat answers as often as the request says, or until the service stops.
func (s echoService) Repeat(ctx context.Context, r *connect.Request[echo.RepeatRequest], to *connect.ServerStream[echo.SayResponse]) error {
	every := 100 * time.Millisecond
	if n := r.Msg.GetEvery(); n > 0 {
		every = min(time.Duration(n)*time.Millisecond, maxWait)
	}
	count := r.Msg.GetCount()
	var stopping <-chan struct{}
	if count == 0 {
		stopping = s.stopping.Done()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for sent := uint32(1); ; sent++ {
		if err := to.Send(s.say(r.Msg.GetText())); err != nil {
			return err
		}
		if sent == count {
			return nil
		}
		select {
		case <-tick.C:
		case <-stopping:
			return errStopping
		case <-s.over.Done():
			return errStopping
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Talk answers each message until the client sends no more, or the service stops.
func (s echoService) Talk(ctx context.Context, with *connect.BidiStream[echo.SayRequest, echo.SayResponse]) error {
	type message struct {
		*echo.SayRequest
		err error
	}
	heard := make(chan message)
	go func() { // ends with the request, from which it reads
		for {
			m, err := with.Receive()
			select {
			case heard <- message{m, err}:
			case <-ctx.Done():
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case m := <-heard:
			if errors.Is(m.err, io.EOF) {
				return nil
			}
			if m.err != nil {
				return m.err
			}
			a, err := s.reply(m.SayRequest)
			if err != nil {
				return err
			}
			if err := with.Send(a); err != nil {
				return err
			}
		case <-s.stopping.Done():
			return errStopping
		}
	}
}
