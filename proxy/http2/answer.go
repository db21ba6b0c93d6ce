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

// answer is what a stream keeps about its answer.
type answer struct {
	block   []byte     // the encoded head until it is sent, after a byte for NoTable
	pending bool       // block is not sent yet
	headed  bool       // a final head was sent
	code    http2.Code // error code that the stream ends with; NoError for none
	tunnel  bool       // the stream has become a tunnel
	accept  []byte     // the Sec-WebSocket-Accept that the instance must answer
	trail   []byte     // the encoded trailers

	last    int       // index in out of the flags of its last DATA frame; -1 for none
	lastOut uint64    // conn.outs at that time
	writeBy time.Time // when a waiting writer must check its deadline
}

func (a *answer) reset() {
	*a = answer{block: a.block[:0], accept: a.accept[:0], trail: a.trail[:0], last: -1}
}

// abort is the code for an answer that does not end properly.
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

// usable returns an error if nothing can be sent any more. c.mu is held.
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

// Head starts the answer. It buffers the head, since it may be the whole answer.
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

// encode encodes a head into block.
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

// dateIndex is the index of date in the static table.
const dateIndex = 33

// appendBlock appends the block as HEADERS. c.mu is held, and released while there is
// no room.
func (s *stream) appendBlock(f http2.Flags) {
	c := s.conn
	for !c.fits(len(s.block)) && !c.broken && !s.gone {
		if !c.flushing {
			c.flush(false)
			continue
		}
		c.waiting++
		c.room.Wait()
		c.waiting--
	}
	if s.gone || c.broken { // possibly meanwhile: nothing may follow a reset
		s.block = s.block[:0]
		return
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

// sendHead appends the buffered head. c.mu is held.
func (s *stream) sendHead(f http2.Flags) {
	if s.pending {
		s.pending, s.headed = false, true
		s.appendBlock(f)
	}
}

// Write sends bytes of the body, or buffers them until Flush.
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

// Flush sends what is buffered.
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

// Finish ends the answer. The end is written when the stream's goroutine finishes,
// which is at once.
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

// endLocal ends the stream's sending side: with its last frame, if that was not written
// yet. c.mu is held.
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

// Abort ends the answer in a way that shows the client that it is incomplete. A gRPC
// client gets trailers that say so, also if the answer has not begun, for example
// because serai stops, and a gRPC-Web client gets them as a message.
func (r *responder) Abort() {
	s := r.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.usable() != nil || s.code != http2.NoError {
		s.pending = false
		return
	}
	if last := s.Exchange.WebCut(); last != nil {
		s.sendHead(0)
		if s.appendData(last) == len(last) { // it does not wait for the client
			s.endLocal()
		}
		return
	}
	s.pending = false
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
