package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"serai/wire"
)

// HealthMethod is the method that a gRPC check calls (grpc.health.v1).
const HealthMethod = "/grpc.health.v1.Health/Check"

// checkHTTP2 checks an instance that speaks HTTP/2, through its transport and over a
// connection of its own.
func (r *Registry) checkHTTP2(ctx context.Context, e *Endpoint, host string, within, timeout time.Duration) error {
	k := &e.target.Check
	q := &checkCaller{ctx: ctx, body: noBody{}}
	request := &Request{
		Head: &wire.OutgoingRequest{
			Method: []byte("GET"), Target: []byte(k.Path), Authority: []byte(host),
			Fields: []wire.Field{{Name: []byte("user-agent"), Value: []byte("serai-check")}},
		},
		Body: q.body, Complete: true, Host: []byte(host), Check: true, Now: time.Now(), Connect: min(within, timeout), Answer: timeout, Caller: q,
		Bounds: &Bounds{Head: wire.DefaultLimits(), Interim: maxInterim, WriteIdle: timeout},
	}
	if k.GRPC {
		request.First = healthRequest(k.Service)
		request.Head.Method, request.Head.Framing, request.Head.Size = []byte("POST"), wire.Length, int64(len(request.First))
		request.Head.Trailers = true
		request.Head.Fields = append(request.Head.Fields,
			wire.Field{Name: []byte("content-type"), Value: []byte("application/grpc")},
			wire.Field{Name: []byte("content-length"), Value: strconv.AppendInt(nil, request.Head.Size, 10), Kind: wire.ContentLength})
	}
	err := q.ask(e, request)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer within %v: %w", timeout, ctx.Err())
	}
	switch {
	case err == nil:
		return nil
	case k.GRPC:
		return fmt.Errorf("check=grpc:%s of %s: %w", k.Service, e.target.Address, err)
	}
	return fmt.Errorf("check %s of %s: %w", k.Path, e.target.Address, err)
}

// checkCaller is the Caller of a check.
type checkCaller struct {
	ctx  context.Context
	body RequestBody
	mu   sync.Mutex
	s    Stream // interrupted when the check's time is over
}

// ask sends the check and evaluates the answer.
func (q *checkCaller) ask(e *Endpoint, r *Request) (err error) {
	defer context.AfterFunc(q.ctx, q.interrupt)()
	var a Answer
	if f := e.transport.RoundTrip(r, &a); f != nil {
		q.release()
		return f.Err
	}
	defer func() {
		q.release()
		a.Stream.End(err == nil)
	}()
	k := &e.target.Check
	if !k.GRPC {
		if a.Head.Status < k.StatusMin || a.Head.Status > k.StatusMax {
			return fmt.Errorf("status %d is not within %d-%d", a.Head.Status, k.StatusMin, k.StatusMax)
		}
		return nil
	}
	if a.Head.Status != 200 {
		return fmt.Errorf("status %d in place of gRPC's 200", a.Head.Status)
	}
	status := wire.Get(a.Head.Fields, "grpc-status")
	message, err := readMessage(a.Stream)
	if err != nil {
		return err
	}
	if status == nil {
		status = wire.Get(a.Stream.Trailers(), "grpc-status")
	}
	if string(status) != "0" {
		return fmt.Errorf("grpc-status %q", status)
	}
	return serving(message)
}

// Hold records the stream that is interrupted when the check's time is over.
func (q *checkCaller) Hold(s Stream) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.s = s
	return q.ctx.Err() == nil
}

func (q *checkCaller) interrupt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.s != nil {
		q.s.Interrupt()
	}
}

func (q *checkCaller) release() { q.Hold(nil) }

// Interim accepts any 1xx answer.
func (*checkCaller) Interim(*wire.ResponseHead) error { return nil }

// Panicked passes a panic on, because nothing else would report it.
func (*checkCaller) Panicked(cause any) error { panic(cause) }

// noBody is the body of a request that has nothing after its first bytes.
type noBody struct{}

func (noBody) Next() ([]byte, error)  { return nil, io.EOF }
func (noBody) Done() bool             { return true }
func (noBody) Trailers() []wire.Field { return nil }
func (noBody) Interrupt()             {}

// healthRequest is a gRPC message with a HealthCheckRequest: its one field is the
// service's name.
func healthRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = protowire.AppendTag(m, 1, protowire.BytesType)
		m = protowire.AppendString(m, service)
	}
	return append([]byte{0, 0, 0, byte(len(m) >> 8), byte(len(m))}, m...)
}

// readMessage reads the whole answer of a health check.
func readMessage(s Stream) (message []byte, err error) {
	const most = 1 << 10
	for {
		data, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if message = append(message, data...); len(message) > most {
			return nil, errors.New("the answer is too long for one of grpc.health.v1")
		}
	}
	if len(message) == 0 {
		return nil, nil
	}
	if len(message) < 5 || message[0] != 0 || int(message[3])<<8|int(message[4]) != len(message)-5 {
		return nil, errors.New("the answer is not a gRPC message")
	}
	return message[5:], nil
}

var errNotHealth = errors.New("the answer is not one of grpc.health.v1")

// serving reports whether a HealthCheckResponse says SERVING.
func serving(m []byte) error {
	names := [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	status := uint64(0)
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 || number == 1 && kind != protowire.VarintType {
			return errNotHealth
		}
		// A later version may have fields that are not known here.
		size := protowire.ConsumeFieldValue(number, kind, m[n:])
		if size < 0 {
			return errNotHealth
		}
		if number == 1 {
			status, _ = protowire.ConsumeVarint(m[n:])
		}
		m = m[n+size:]
	}
	if status == 1 {
		return nil
	}
	return fmt.Errorf("it is %s", names[min(status, uint64(len(names)-1))])
}
