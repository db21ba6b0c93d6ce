package http1

import (
	"net/http"
	"strconv"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// answer writes one answer. Small answers leave in one write.
type answer struct {
	conn *conn
	out  []byte // not yet written, from a pool; nil before the first byte

	minor     uint8 // of the request
	keepAlive bool  // the client would go on
	upgrading bool  // it asked for another protocol
	continued bool  // it has been told to send its body
	started   bool  // bytes have been sent
	chunked   bool  // the body is framed in chunks by us
	close     bool  // the connection ends with this answer
	endsIt    bool  // and nothing else tells the client that it is whole
	ended     bool  // the answer is complete
	failed    bool  // the client is gone, or was cut off
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
	// What comes behind the request for a protocol that was refused may be meant
	// for it: it is not read as a request. Nor is what follows a body that the
	// connection does not come to the end of: the client is told before it sends
	// another request (RFC 9110 section 10.1.1).
	a.close = !a.keepAlive || a.upgrading || a.conn.front.Retiring() || !a.conn.session.body.ends(a.continued)
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
		// A client of HTTP/1.0 knows no chunks: the end of the connection is
		// the end of its answer.
		if a.chunked = a.minor == 1; a.chunked {
			a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
		} else {
			a.close, a.endsIt = true, true
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

// Write sends bytes of the body, or holds them back until Flush.
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

// Flush sends what is held back.
func (a *answer) Flush() error {
	if len(a.out) == 0 {
		return nil
	}
	err := a.send(a.out)
	a.out = a.out[:0]
	return err
}

// Plain returns the client's connection where the body's bytes may be written to
// it as they are.
func (a *answer) Plain() *socket.Conn {
	if a.chunked || !a.conn.wire.Plain() {
		return nil
	}
	return a.conn.wire
}

func (a *answer) send(p []byte) error {
	// The first write comes right after what it answers; later ones may have had
	// to wait for each other.
	now := a.conn.session.Now
	if a.started {
		now = time.Now()
	}
	a.started = true
	a.conn.wire.WriteWithin(now, a.conn.engine.options.WriteIdle)
	taking := &a.conn.session.memoryUse
	taking.WriteBegins(now)
	_, err := a.conn.wire.Write(p)
	taking.WriteEnds()
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

// Abort makes the connection end here. Bytes held back are not sent: a client
// must not take a part for the whole.
func (a *answer) Abort() {
	a.failed = true
	a.out = a.out[:0]
}

// statusLine begins a head. A request that waits for its answer has no buffer
// for it yet: with many of them each would use one that is no longer cached.
func (a *answer) statusLine(status int, reason []byte) {
	if a.out == nil {
		a.out = socket.GetSmall()[:0]
	}
	a.out = append(a.out, "HTTP/1.1 "...)
	a.out = strconv.AppendInt(a.out, int64(status), 10)
	a.out = append(a.out, ' ')
	if reason == nil {
		a.out = append(a.out, http.StatusText(status)...)
	} else {
		a.out = append(a.out, reason...)
	}
	a.out = append(a.out, "\r\n"...)
}
