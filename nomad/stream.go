package nomad

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"serai/internal/sleep"
)

// Stream is a subscription to the service events of a namespace, or of all that existed
// when it began. It is up: an agent's first line has come. Only one goroutine may use
// it, but any may call Close.
//
// This package reads the body itself, because nomad/api swallows heartbeats
// and so cannot tell a quiet cluster from a dead connection.
type Stream struct {
	request *request
	client  *Client
	body    io.ReadCloser
	lines   *bufio.Reader
	cancel  context.CancelCauseFunc
	ctx     context.Context
	first   *Batch
	err     error
	closing sync.Once
}

// errSilent is the cause of a context that ended because the stream was silent.
var errSilent = errors.New("nothing came in time")

// errClosed is the cause of a context that ended by Close.
var errClosed = errors.New("the stream was closed")

// Stream subscribes to the service events of a namespace, or of AllNamespaces as they
// are now: services of namespaces created later never appear. It returns once the first
// line has come, which the first Next returns, so that a Stream without an error is one
// that works; otherwise it fails with ErrStreamRefused, ErrStreamSilent or an error of
// do. The caller must Close it. ctx bounds the whole life of the stream.
//
// Events with an index of at least index follow, if the agent still has them. Otherwise
// it silently begins with the oldest it has, so a reader must list after subscribing
// and ignore older events. Index 0 begins with the oldest.
// Source: https://developer.hashicorp.com/nomad/api-docs/events.
func (c *Client) Stream(ctx context.Context, namespace string, index uint64) (*Stream, error) {
	s, err := c.openStream(ctx, namespace, index)
	c.report(ctx, KindStream, err)
	return s, err
}

func (c *Client) openStream(ctx context.Context, namespace string, index uint64) (*Stream, error) {
	namespace = orDefault(namespace)
	r := &request{
		kind: KindStream, op: fmt.Sprintf("subscribe to service events of namespace %q", namespace),
		method: http.MethodGet, path: "/v1/event/stream",
		params: url.Values{"topic": {topicService}, "namespace": {namespace}, "index": {strconv.FormatUint(index, 10)}},
	}
	s := &Stream{request: r, client: c}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	watch := s.expect(c.options.Limits.FirstLine)
	defer watch.Stop()

	// A compressor would hold lines back.
	res, err := c.send(s.ctx, r, "identity")
	if err != nil {
		s.cancel(errClosed)
		return nil, s.explain(err)
	}
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		res.Body.Close()
		s.cancel(errClosed)
		return nil, c.refused(r, res.StatusCode, body)
	}
	s.body = res.Body
	s.lines = bufio.NewReaderSize(res.Body, 16<<10)
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		s.Close()
		return nil, insane(r, "the stream is compressed with %q", excerpt([]byte(enc), r.token))
	}
	first, err := s.read()
	if err != nil {
		err = s.refusal(err) // before Close, which would look like the cause
		s.Close()
		return nil, err
	}
	s.first = &first
	return s, nil
}

// expect ends the stream's context unless it is stopped within d.
func (s *Stream) expect(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() { s.cancel(fmt.Errorf("%w (%v)", errSilent, d)) })
}

// Next waits for the next line. It fails with ErrStreamSilent when three heartbeats are
// missed, with ErrStreamEnded when the agent ends the stream, with ErrBadAnswer for a
// line that is not an event or has no end, and with ctx's error. After a failure every
// Next fails.
func (s *Stream) Next() (Batch, error) {
	if s.err != nil {
		return Batch{}, s.err
	}
	if s.first != nil {
		b := *s.first
		s.first = nil
		return b, nil
	}
	watch := s.expect(3 * s.client.options.Limits.Heartbeat)
	defer watch.Stop()
	b, err := s.read()
	if err != nil {
		s.err = s.explain(err)
		s.Close()
		return Batch{}, s.err
	}
	return b, nil
}

// Close ends the subscription and makes a waiting Next return. It may be
// called more than once.
func (s *Stream) Close() {
	s.closing.Do(func() {
		s.cancel(errClosed)
		s.body.Close()
	})
}

// Outdated waits until a new stream would be sent another token than this one was, and
// reports false if this one ends before, or its token never changes. It looks once in each
// pause. An agent sends no event on a stream whose token has expired, and ends the stream up
// to 15 s later (seen, 2.0.5): a reader should have a new one before.
func (s *Stream) Outdated(pause time.Duration) bool {
	if s.client.options.TokenFile == "" {
		return false
	}
	for sleep.For(s.ctx, pause) == nil {
		if s.client.token.Now() != s.request.token {
			return true
		}
	}
	return false
}

// read reads and decodes one line. It skips empty lines.
func (s *Stream) read() (Batch, error) {
	for {
		line, err := readLine(s.lines, s.client.options.Limits.Line)
		var long *longLine
		if errors.As(err, &long) && long.skip(s.lines) {
			return Batch{Lost: true, Received: time.Now()}, nil
		}
		if err != nil {
			return Batch{}, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		received := time.Now()
		b, err := decodeBatch(line, s.request.token)
		if err != nil {
			return Batch{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
		}
		b.Received = received
		return b, nil
	}
}

// readLine returns the next line without its newline. The slice is valid until the next
// call. A last line without a newline is io.ErrUnexpectedEOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil && len(line) <= limit {
		return line[:len(line)-1], nil
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
		if len(long) > limit {
			break
		}
	}
	if len(long) > limit {
		return nil, &longLine{limit: limit, ended: err == nil}
	}
	switch {
	case err == nil:
		return long[:len(long)-1], nil
	case errors.Is(err, io.EOF) && len(long) > 0:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// longLine is the error for a line that is longer than the limit.
type longLine struct {
	limit int
	ended bool // its newline has been read
}

func (l *longLine) Error() string {
	return fmt.Sprintf("%v: a line of the event stream is longer than %d bytes", ErrBadAnswer, l.limit)
}

func (l *longLine) Unwrap() error { return ErrBadAnswer }

// mostSkipped bounds what is skipped of a line, as a multiple of the limit.
const mostSkipped = 16

// skip reads the rest of the line, and reports whether its end was found.
func (l *longLine) skip(r *bufio.Reader) bool {
	for left := mostSkipped * l.limit; !l.ended && left > 0; {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
		l.ended = err == nil
		left -= len(part)
	}
	return l.ended
}

// explain makes an *Error of what ended the stream.
func (s *Stream) explain(err error) error {
	e := s.request.fail(nil, 0, err)
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errSilent):
		e.Kind, e.Err = ErrStreamSilent, cause
		e.Advice = "the connection is dead, or the agent refuses the subscription without saying so"
	case errors.Is(cause, errClosed):
		// Closed by the caller; or an error that Close followed.
		var inner *Error
		if errors.As(err, &inner) {
			return inner
		}
		e.Kind, e.Err = ErrStreamEnded, cause
	case cause != nil:
		e.Err = cause
	case errors.Is(err, ErrBadAnswer):
		e.Kind = ErrBadAnswer
		e.Advice = "read everything again and subscribe again"
	case errors.Is(err, io.EOF):
		e.Kind, e.Err = ErrStreamEnded, nil
		e.Advice = "read everything again and subscribe again"
	default:
		var inner *Error
		if errors.As(err, &inner) {
			return inner
		}
		e.Kind = ErrStreamEnded
	}
	return e
}

// refusal makes an *Error for a subscription whose first line did not come.
func (s *Stream) refusal(err error) error {
	advice := fmt.Sprintf("the token needs read-job in namespace %q", s.request.params.Get("namespace"))
	if s.request.params.Get("namespace") == AllNamespaces {
		advice = "the token needs read-job in every namespace"
	}
	advice += ", or event_broker is off at the servers"
	e := s.request.fail(nil, http.StatusOK, nil)
	e.Advice = advice
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errSilent):
		e.Kind, e.Err = ErrStreamSilent, cause
	case cause != nil:
		return s.explain(err)
	case errors.Is(err, io.EOF):
		e.Kind = ErrStreamRefused
	case errors.Is(err, ErrBadAnswer):
		e.Kind, e.Err, e.Advice = ErrBadAnswer, err, adviceStranger
	default:
		// The stream was never up, so it cannot have ended.
		return s.client.unread(s.ctx, s.request, http.StatusOK, err)
	}
	return e
}
