package http2

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/http2"
)

// answer is what a stream keeps of its answer.
type answer struct {
	block   []byte     // of the head, until it is sent, behind a byte for NoTable
	pending bool       // it is to be sent
	headed  bool       // a final head was
	code    http2.Code // that the stream ends with, where it does not end well
	tunnel  bool       // it has become one
	accept  []byte     // what the instance has to say to a WebSocket
	trail   []byte     // block of trailers

	last    int       // where the flags of its last DATA are in what is to be written
	lastOut uint64    // and in which
	writeBy time.Time // when who waits is to look again
}

func (a *answer) reset() {
	*a = answer{block: a.block[:0], accept: a.accept[:0], trail: a.trail[:0], last: -1}
}

// abort is the code of an answer that does not come to its end.
func (a *answer) abort() http2.Code {
	if a.code == http2.NoError {
		return http2.InternalError
	}
	return a.code
}

// responder is a stream as the proxy's Responder.
type responder stream

var (
	_ proxy.Responder = (*responder)(nil)
	_ proxy.Tunneler  = (*responder)(nil)
)

func (r *responder) stream() *stream { return (*stream)(r) }

var errGone = errors.New("the client takes no more of this stream")

// usable returns an error where nothing can be sent any more. C.mu is held.
func (s *stream) usable() error {
	if s.gone || s.conn.broken || s.localEnd {
		return errGone
	}
	return nil
}

// Interim sends a 1xx answer at once.
func (r *responder) Interim(h *wire.ResponseHead) error {
	s := r.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.encode(h, h.Status)
	s.appendBlock(0)
	c.flush(true)
	return s.usable()
}

// Head starts the answer. It is held back, since it may be all of it.
func (r *responder) Head(h *wire.ResponseHead) error {
	s := r.stream()
	c := s.conn
	status := h.Status
	if s.connects && status/100 == 2 {
		status = http.StatusBadGateway // a 2xx would be a tunnel to the client (RFC 8441 section 5)
	}
	s.encode(h, status)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pending, s.answered = true, true
	if s.converses() {
		s.memoryUse.WaitEnds()
	}
	return s.usable()
}

// encode makes the block of a head.
func (s *stream) encode(h *wire.ResponseHead, status int) {
	b := append(s.block[:0], http2.NoTable)
	b = http2.AppendStatus(b, status)
	dated := status < 200
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.Kind {
		case wire.Dropped, wire.Connection, wire.KeepAlive, wire.ProxyConnection, wire.TransferEncoding, wire.Upgrade, wire.TE, wire.HTTP2Settings:
			continue
		case wire.Date:
			dated = true
		}
		b = http2.AppendField(b, f)
	}
	if !dated {
		b = http2.AppendInteger(b, 0, 4, dateIndex)
		b = append(b, byte(len(http.TimeFormat)))
		b = s.Now.UTC().AppendFormat(b, http.TimeFormat)
	}
	s.block = b
}

// dateIndex is the entry of date in the static table.
const dateIndex = 33

// appendBlock appends the block as HEADERS. C.mu is held, and let go where there is no
// room.
func (s *stream) appendBlock(f http2.Flags) {
	c := s.conn
	for !c.fits(len(s.block)) && !c.broken {
		if !c.flushing {
			c.flush(false)
			continue
		}
		c.waiting++
		c.room.Wait()
		c.waiting--
	}
	if c.out == nil {
		c.takeOut()
	}
	b := s.block
	if !c.resized {
		b = b[1:]
	}
	c.resized, c.sent = false, true
	c.out = http2.AppendBlock(c.out, b, f, s.id, c.frame)
	s.block = s.block[:0]
	if cap(s.block) > 4096 {
		s.block = nil
	}
}

// sendHead sends the head that was held back. C.mu is held.
func (s *stream) sendHead(f http2.Flags) {
	if s.pending {
		s.pending, s.headed = false, true
		s.appendBlock(f)
	}
}

// Write sends bytes of the body, or holds them back until Flush.
func (r *responder) Write(p []byte) error {
	return r.write(p, r.engine.options.WriteIdle)
}

func (r *responder) write(p []byte, within time.Duration) error {
	s := r.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.sendHead(0)
	return s.send(p, within)
}

// Flush sends what is held back.
func (r *responder) Flush() error {
	s := r.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.sendHead(0)
	c.flush(true)
	return s.usable()
}

// Finish ends the answer. It is written when the stream ends, at once.
func (r *responder) Finish(trailers []wire.Field) error {
	s := r.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	b := http2.AppendFields(append(s.trail[:0], http2.NoTable), trailers)
	s.trail = b
	if len(b) > 1 {
		s.sendHead(0)
		s.block = append(s.block[:0], b...)
		s.appendBlock(http2.FlagEndStream)
	} else {
		s.endLocal()
	}
	s.localEnd = true
	return nil
}

// endLocal ends the stream's sending side: with the last frame, if that is still here.
// C.mu is held.
func (s *stream) endLocal() {
	c := s.conn
	switch {
	case s.pending:
		s.sendHead(http2.FlagEndStream)
	case s.last >= 0 && s.lastOut == c.outs:
		c.out[s.last] |= byte(http2.FlagEndStream)
	default:
		c.space()
		c.out = http2.AppendHeader(c.out, 0, http2.Data, http2.FlagEndStream, s.id)
	}
	s.localEnd = true
}

// Abort ends the answer so that the client sees that it was cut. A client of gRPC is
// told so in its own words, also where the answer has not begun: that serai ends, say.
func (r *responder) Abort() {
	s := r.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pending = false
	if s.usable() != nil || s.code != http2.NoError {
		return
	}
	trailers := s.Exchange.GRPCCut(s.headed)
	if trailers == nil {
		return
	}
	s.block = append(s.block[:0], http2.NoTable)
	if !s.headed {
		s.block = http2.AppendStatus(s.block, http.StatusOK)
	}
	s.block = http2.AppendFields(s.block, trailers)
	s.appendBlock(http2.FlagEndStream)
	s.localEnd = true
}

var websocket = []byte("websocket")

func isWebSocket(p []byte) bool { return bytes.EqualFold(p, websocket) }
