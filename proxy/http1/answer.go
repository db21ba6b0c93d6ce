package http1

import (
	"net/http"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// answer writes one answer. A small answer leaves in one write.
type answer struct {
	conn *conn
	out  []byte // not yet written, from a pool; nil before the first byte

	minor         uint8 // the request's HTTP/1 minor version
	keepAlive     bool  // the client would keep the connection
	upgrading     bool  // the client asked for another protocol
	continued     bool  // the client was told to send its body
	started       bool  // bytes have been sent
	chunked       bool  // serai frames the body in chunks
	close         bool  // the connection ends with this answer
	closeEndsBody bool  // the end of the connection is the end of the body
	ended         bool  // the answer is complete
	failed        bool  // the client is gone, or the answer was cut off
}

var (
	_ proxy.Responder      = (*answer)(nil)
	_ proxy.PlainResponder = (*answer)(nil)
)

func (a *answer) reset(c *conn) { *a = answer{conn: c} }

func (a *answer) release() {
	socket.Put(a.out)
	a.out, a.conn = nil, nil
}

func (a *answer) begin(x *proxy.Exchange) {
	a.minor, a.keepAlive, a.upgrading = x.Head.Minor, x.Head.KeepAlive, x.Upgrading()
}

// Interim sends a 1xx answer at once.
func (a *answer) Interim(h *wire.ResponseHead) error {
	a.continued = a.continued || h.Status == http.StatusContinue
	a.statusLine(h.Status, h.Reason)
	a.out = wire.AppendFields(a.out, h.Fields)
	a.out = append(a.out, "\r\n"...)
	return a.Flush()
}

// Head starts the answer (RFC 9112 section 6).
func (a *answer) Head(h *wire.ResponseHead) error {
	// After a refused upgrade, the bytes that follow may belong to the other protocol, so
	// they are not read as a request. If the body will not be read to its end, no other
	// request can follow on this connection, and the client is told so now (RFC 9110
	// section 10.1.1).
	a.close = !a.keepAlive || a.upgrading || a.conn.front.Retiring() || a.conn.last || !a.conn.session.body.endsSoon(a.continued)
	if s := a.conn.session; s.Exchange.Head.Framing != wire.NoBody {
		s.body.pace.answered.Store(true)
		if s.body.converses() {
			s.memoryUse.WaitEnds()
		}
	}
	a.statusLine(h.Status, h.Reason)
	dated, upgrade := false, false
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Kind != wire.Dropped {
			dated = dated || f.Kind == wire.Date
			upgrade = upgrade || f.Kind == wire.Upgrade
			a.out = wire.AppendField(a.out, f.Name, f.Value)
		}
	}
	if !dated && h.Status >= 200 {
		a.out = append(a.out, "Date: "...)
		a.out = time.Now().UTC().AppendFormat(a.out, http.TimeFormat)
		a.out = append(a.out, "\r\n"...)
	}
	if h.Framing == wire.Chunked || h.Framing == wire.UntilEOF {
		// HTTP/1.0 has no chunks: the end of the connection ends the answer.
		if a.chunked = a.minor == 1; a.chunked {
			a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
		} else {
			a.close, a.closeEndsBody = true, true
		}
	}
	switch {
	case a.close:
		a.out = append(a.out, "Connection: close\r\n"...)
	case a.minor == 0:
		a.out = append(a.out, "Connection: keep-alive\r\n"...)
	}
	if upgrade {
		a.out = append(a.out, "Connection: Upgrade\r\n"...)
	}
	a.out = append(a.out, "\r\n"...)
	return nil
}

// Write sends bytes of the body, or buffers them until Flush.
func (a *answer) Write(p []byte) error {
	if a.chunked {
		a.out = wire.AppendChunkLine(a.out, len(p))
	}
	const frame = len("\r\n0\r\n\r\n")
	if len(a.out)+len(p)+frame > cap(a.out) {
		if err := a.Flush(); err != nil {
			return err
		}
		if len(p)+frame > cap(a.out) {
			if err := a.send(p); err != nil {
				return err
			}
			p = nil
		}
	}
	a.out = append(a.out, p...)
	if a.chunked {
		a.out = append(a.out, "\r\n"...)
	}
	return nil
}

// Flush sends what is buffered.
func (a *answer) Flush() error {
	if len(a.out) == 0 {
		return nil
	}
	err := a.send(a.out)
	a.out = a.out[:0]
	return err
}

// Plain returns the client's connection if the body's bytes may be written to it
// unchanged.
func (a *answer) Plain() *socket.Conn {
	if a.chunked || !a.conn.wire.Plain() {
		return nil
	}
	return a.conn.wire
}

func (a *answer) send(p []byte) error {
	// Now is still current for the first write; later writes may have had to wait.
	now := a.conn.session.Now
	if a.started {
		now = time.Now()
	}
	a.started = true
	a.conn.wire.WriteWithin(now, a.conn.engine.options.WriteIdle)
	n, err := a.conn.wire.WriteFirst(p)
	if n < len(p) && err == nil {
		use := &a.conn.session.memoryUse
		use.WriteBegins(now)
		_, err = a.conn.wire.Write(p[n:])
		use.WriteEnds()
	}
	if err != nil {
		a.failed = true
		return err
	}
	return nil
}

// Finish ends the answer.
func (a *answer) Finish(trailers []wire.Field) error {
	if a.chunked {
		a.out = wire.AppendLastChunk(a.out, trailers)
	}
	a.ended = true
	return a.Flush()
}

// Abort makes the connection end here. Buffered bytes are not sent, so that the client
// does not take a part for the whole.
func (a *answer) Abort() {
	a.failed = true
	a.out = a.out[:0]
}

// statusLine begins a head. It takes the buffer only now: if many requests that wait
// for their answers held one, each buffer would have left the CPU's cache when it is
// used.
func (a *answer) statusLine(status int, reason []byte) {
	if a.out == nil {
		a.out = socket.GetSmall()[:0]
	}
	a.out = append(a.out, "HTTP/1.1 "...)
	a.out = append(a.out, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ') // always three digits
	if reason == nil {
		a.out = append(a.out, http.StatusText(status)...)
	} else {
		a.out = append(a.out, reason...)
	}
	a.out = append(a.out, "\r\n"...)
}
