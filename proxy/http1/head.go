package http1

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"serai/front"
	"serai/proxy"
	"serai/wire"
)

// readHead reads until the head is complete, and returns its length.
func (c *conn) readHead(s *session) (n int, err error) {
	o := &c.engine.options
	timed, short := false, false
	if !s.memoryUse.Begun() {
		return 0, wire.ErrOverloaded
	}
	defer s.memoryUse.WaitEnds()
	for {
		n, err = s.Head.ParseRequest(c.wire.Buffered(), o.Limits)
		if err != wire.ErrIncomplete {
			return n, err
		}
		if !timed {
			timed = true
			c.headAwaited(s)
			defer func() { c.headCame(s, err == nil) }()
			now := time.Now()
			atMost := s.memoryUse.WaitBegins(now, c.front.Memory)
			short = atMost < o.HeadTimeout
			c.wire.ReadWithin(now, min(o.HeadTimeout, atMost))
		}
		had := len(c.wire.Buffered())
		err = c.wire.FillLine()
		s.memoryUse.Received(len(c.wire.Buffered()) - had)
		if err = s.memoryUse.WaitError(err); err != nil {
			return 0, err
		}
		if short {
			short = false
			c.wire.ReadWithin(time.Now(), o.HeadTimeout)
		}
	}
}

// headAwaited and headCame enclose the wait for the rest of a head, which makeRoom may end.
func (c *conn) headAwaited(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.heading = true
}

func (c *conn) headCame(s *session, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if whole && s.waitEnded && !s.memoryUse.Ending() {
		c.wire.Resume() // it came at that moment: the request is the last one
		c.last = true
	}
	s.heading, s.waitEnded = false, false
}

// beginsHTTP2 reports whether the client has sent the HTTP/2 preface, and may use
// HTTP/2 without ALPN.
func (c *conn) beginsHTTP2(s *session) bool {
	return !c.answered && c.front.TakesPriorKnowledge() && bytes.HasPrefix(c.wire.Buffered(), []byte("PRI * HTTP/2.0\r\n"))
}

// refuse answers bytes that are not a valid request, and closes the connection: nobody
// can tell where the next request would begin.
func (c *conn) refuse(s *session, err error) {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		if !c.answered && front.BeginsProxyHeader(c.wire.Buffered()) {
			err, e = nil, proxy.ReasonProxyHeader.Refusal()
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && bytes.HasPrefix([]byte("\r\n"), c.wire.Buffered()):
		// Old clients send a line end after a body (RFC 9112 section 2.2). It is not the
		// start of a request: the client would take an answer for that to its next one.
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		e = proxy.ReasonHeadTimeout.Refusal()
	case err == wire.ErrBufferFull:
		e = wire.ErrHeadLarge
	default:
		c.ending = front.AtOnce // the client left in the middle of a head
		return
	}
	// The fields that were parsed may be in a buffer that was released meanwhile.
	s.Head.ParseRequest(c.wire.Buffered(), c.engine.options.Limits)
	s.Start = time.Now()
	s.Now = s.Start
	s.answer.refuse(e, where(err))
	c.ending = front.Lingering
	c.engine.proxy.Refused(&s.Exchange, e)
}

// where tells people which line of a head has the error.
func where(err error) string {
	var field *wire.FieldError
	if errors.As(err, &field) {
		return ": " + field.Where()
	}
	return ""
}

// refuse writes the answer to bytes that are not a valid request.
func (a *answer) refuse(e *wire.Error, where string) {
	h, body := a.conn.session.Refusal(e, where)
	a.statusLine(h.Status, h.Reason)
	a.out = wire.AppendFields(a.out, h.Fields)
	a.out = append(a.out, "Connection: close\r\nContent-Length: "...)
	a.out = strconv.AppendInt(a.out, h.Size, 10)
	a.out = append(a.out, "\r\nDate: "...)
	a.out = time.Now().UTC().AppendFormat(a.out, http.TimeFormat)
	a.out = append(a.out, "\r\n\r\n"...)
	if string(a.conn.session.Head.Method) != "HEAD" {
		a.out = append(a.out, body...)
	}
	a.Flush()
}
