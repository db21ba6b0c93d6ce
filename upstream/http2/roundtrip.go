package http2

import (
	"errors"
	"fmt"
	"os"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// roundTrip sends the request, whose head is in r.Scratch, and waits for the head of
// its final answer.
func (s *stream) roundTrip(r *upstream.Request, a *upstream.Answer, tunnel bool) *upstream.Failure {
	s.head, s.memory = string(r.Head.Method) == "HEAD", r.Memory
	sent := a.Now
	if tunnel && s.conn.takesNoTunnel() {
		return &upstream.Failure{Kind: upstream.FailedUpgrade, Processing: upstream.NotSent, Err: errNoTunnel}
	}
	rest, err := s.begin(r, tunnel)
	if err != nil {
		return s.explain(a, err)
	}
	if len(rest) > 0 || !r.Complete && !tunnel {
		s.stream(r, rest)
	}
	if err := s.awaitHead(r, a, sent); err != nil {
		return s.explain(a, err)
	}
	if tunnel && a.Head.Status/100 == 2 {
		s.accept(r, a)
		return nil
	}
	finishHead(r, a)
	return nil
}

// takesNoTunnel reports whether the instance has said what it supports, and that is not
// extended CONNECT. A connection that ended before that is told as for any other request.
func (c *conn) takesNoTunnel() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.greeted && !c.peer.tunnels
}

// awaitHead waits for the final answer's head, and passes 1xx answers on.
func (s *stream) awaitHead(r *upstream.Request, a *upstream.Answer, sent time.Time) error {
	now := sent
	for {
		s.ReadWithin(now, r.Answer)
		err := s.nextHead(a)
		if errors.Is(err, os.ErrDeadlineExceeded) && !s.wasInterrupted() {
			// The instance need not answer before it has the whole request.
			now = time.Now()
			if last := s.sent().LastProgress(); now.Sub(last) < r.Answer {
				now = last
				continue
			}
		}
		if err != nil {
			return err
		}
		if now = a.Now; a.FirstByte == 0 {
			a.FirstByte, a.ServiceTime = max(a.Now.Sub(sent), 1), s.sent().ServiceTime(sent, a.Now)
		}
		if a.Head.Status >= 200 {
			return nil
		}
		if err := r.Caller.Interim(&a.Head); err != nil {
			return errUnwanted
		}
	}
}

func (s *stream) wasInterrupted() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.interrupted
}

// nextHead waits for the next head, and puts it in a.Head, and in a.Now when it came, or
// something else after it.
func (s *stream) nextHead(a *upstream.Answer) error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(s.heads) == 0 {
		if s.err != nil && !s.interrupted {
			return s.err
		}
		if err := s.wait(); err != nil && len(s.heads) == 0 {
			return err
		}
	}
	if s.interrupted {
		return os.ErrDeadlineExceeded
	}
	a.Now = c.heard
	h := s.heads[0]
	s.heads = append(s.heads[:0], s.heads[1:]...)
	a.Head = wire.ResponseHead{Status: h.status, Minor: 1, KeepAlive: true, Fields: append(a.Head.Fields[:0], s.fields[h.from:h.to]...)}
	if h.status < 200 {
		a.Head.Framing = wire.NoBody
		return nil
	}
	switch {
	case s.bodiless:
		a.Head.Framing = wire.NoBody
		a.Head.Declared, a.Head.Size = s.length >= 0, max(s.length, 0)
	case s.length >= 0:
		a.Head.Framing, a.Head.Size = wire.Length, s.length
	case s.gotEnd && s.body.held == 0 && s.trailers.from == s.trailers.to:
		// The body is empty, and its length is known.
		a.Head.Framing = wire.Length
		a.Head.Fields = append(a.Head.Fields, wire.Field{Name: []byte("Content-Length"), Value: []byte("0"), Kind: wire.ContentLength})
	default:
		a.Head.Framing = wire.Chunked
	}
	return nil
}

// finishHead drops fields of a final head that are not passed on. An answer that
// announces trailers, to a client that accepts them, has no length: in HTTP/1 it cannot
// have both.
func finishHead(r *upstream.Request, a *upstream.Answer) {
	h, announced := &a.Head, false
	for i := range h.Fields {
		switch f := &h.Fields[i]; f.Kind {
		case wire.TE:
			f.Kind = wire.Dropped
		case wire.Trailer:
			if announced = true; !wire.OnlyTrailers(f.Value) {
				f.Kind = wire.Dropped
			}
		}
	}
	if !announced || h.Framing != wire.Length || !r.Head.Trailers {
		return
	}
	h.Framing, h.Size = wire.Chunked, 0
	for i := range h.Fields {
		if h.Fields[i].Kind == wire.ContentLength {
			h.Fields[i].Kind = wire.Dropped
		}
	}
}

// explain turns an error into a Failure.
func (s *stream) explain(a *upstream.Answer, err error) *upstream.Failure {
	known := s.known(a, err)
	failed := func(k upstream.FailureKind, err error) *upstream.Failure {
		return &upstream.Failure{Kind: k, Processing: known, Err: err}
	}
	if bodyErr := s.sent().BodyError(); bodyErr != nil {
		return failed(upstream.FailedBody, bodyErr)
	}
	var refused *wire.Error
	var broken *http2.ConnError
	var reset *resetError
	switch {
	case err == errUnwanted:
		return failed(upstream.FailedCaller, err)
	case errors.Is(err, errLost):
		s.conn.reportLost()
		return failed(upstream.FailedPath, err)
	case err == errInterim:
		return failed(upstream.FailedInterim, err)
	case errors.As(err, &refused):
		return failed(upstream.FailedAnswer, err)
	case errors.As(err, &broken):
		return failed(upstream.FailedAnswer, err)
	case errors.Is(err, errGoAway), errors.As(err, &reset) && reset.code == http2.RefusedStream:
		return failed(upstream.FailedRefused, err)
	case errors.Is(err, os.ErrDeadlineExceeded) && !s.conn.isDead():
		return failed(upstream.FailedTimeout, os.ErrDeadlineExceeded)
	case s.idled >= shortestIdle && known == upstream.Unknown && !errors.As(err, &reset):
		// As in HTTP/1: the instance may close an idle connection while a request is on its way.
		return failed(upstream.FailedIdle, err)
	}
	return failed(upstream.FailedClosed, err)
}

// shortestIdle is less than any server's timeout of idle connections.
const shortestIdle = 250 * time.Millisecond

// known returns how far a request came that got no answer.
func (s *stream) known(a *upstream.Answer, err error) upstream.Processing {
	var reset *resetError
	var refused *wire.Error
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.id == 0 || err == errClosedBefore || c.written <= s.start && c.state == dead:
		return upstream.NotSent // otherwise queued bytes may still be sent
	case a.FirstByte > 0 || s.final || s.interims > 0, errors.As(err, &refused):
		return upstream.Answered // also with a head that is refused
	case errors.Is(err, errGoAway):
		return upstream.NotSent // an instance that is about to stop had no work with it
	case errors.As(err, &reset) && reset.code == http2.RefusedStream:
		return upstream.Refused
	}
	return upstream.Unknown
}

func (c *conn) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == dead
}

// reportLost tells the endpoint that the network path is lost, once for all streams.
func (c *conn) reportLost() {
	c.mu.Lock()
	reported := c.lostReported
	c.lostReported = true
	c.mu.Unlock()
	if !reported {
		c.transport.endpoint.Unreachable(fmt.Errorf("%w: %w", upstream.ErrConnect, errLost))
	}
}

// checkPath ends the connection if the instance does not acknowledge what it is sent.
func (c *conn) checkPath() {
	if c.Lost() {
		c.mu.Lock()
		c.fail(errLost)
		c.mu.Unlock()
	}
}
