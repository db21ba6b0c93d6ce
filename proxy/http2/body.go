package http2

import (
	"io"
	"os"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/proxy"
	"serai/wire"
	"serai/wire/http2"
	"serai/wire/socket"
)

// body is a request's body: what has come and nobody has read. It is guarded by
// conn.mu.
type body struct {
	readable sync.Cond
	bodyState
}

// bodyState is all of it that each request has anew.
type bodyState struct {
	chunks []chunk
	unread int
	handed int // bytes of the first chunk that somebody is reading

	inWindow int64 // that is left to the client
	consumed int64 // of it, to be given back
	declared int64 // by Content-Length, -1 when it is not
	received int64

	bodyErr     error
	interrupted bool
	connects    bool // what comes is the tunnel's: there is no body
	trailers    []wire.Field
	kept        []byte // their bytes

	late     time.Duration // as in proxy/http1: beyond what the least rate allows
	answered bool          // the final answer has begun: a pause is nobody's fault
	readBy   time.Time     // when who waits is to look again
	owes     time.Time     // since when the client is waited for, zero when it is not
	owed     int64         // received by then
}

// chunk is a buffer of which [r:w] is unread.
type chunk struct {
	b    []byte
	r, w int
}

func (b *body) reset() {
	b.bodyState = bodyState{chunks: b.chunks[:0], trailers: b.trailers[:0], kept: b.kept[:0], declared: -1}
}

// declare prepares for the body that the head announces.
func (s *stream) declare() {
	s.connects = s.Head.Upgrade != nil
	if s.Head.Framing == wire.Length {
		s.declared = s.Head.Size
	}
}

// keep copies p to memory that is the stream's.
func (b *body) keep(p []byte) []byte {
	start := len(b.kept)
	b.kept = append(b.kept, p...)
	return b.kept[start:len(b.kept):len(b.kept)]
}

// beginData takes the header of DATA, n bytes of which are no padding.
func (c *conn) beginData(h *http2.Header, n int) error {
	c.into = nil
	if n == 0 && !h.Has(http2.FlagEndStream) || h.Length > 2*n+1 && h.Has(http2.FlagPadded) {
		if err := c.control(1); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, size := c.streams[h.Stream], int64(h.Length)
	if h.Stream > c.lastID {
		return errProtocol("DATA for a stream that is not open")
	}
	if c.inWindow -= size; c.inWindow < 0 {
		return &http2.ConnError{Code: http2.FlowControlError, Detail: "more was sent than the window allows"}
	}
	switch {
	case s == nil || s.gone:
		c.giveBack(size)
		if s != nil && s.byPeer || s == nil && !c.isUnwanted(h.Stream) {
			return c.streamFault(nil, h.Stream, http2.StreamClosed)
		}
		return nil
	case s.remoteEnd:
		c.giveBack(size)
		return c.streamFault(s, h.Stream, http2.StreamClosed)
	}
	s.inWindow -= size
	s.received += int64(n)
	switch {
	case s.inWindow < 0:
		c.giveBack(size)
		return c.streamFault(s, h.Stream, http2.FlowControlError)
	case s.declared >= 0 && s.received > s.declared:
		c.giveBack(size)
		return c.streamFault(s, h.Stream, http2.ProtocolError)
	}
	c.giveBack(size - int64(n))
	s.consumed += size - int64(n) // of the padding, told with the rest
	c.into = s
	return nil
}

// data takes of the payload of DATA.
func (c *conn) data(h *http2.Header, b []byte) {
	if len(b) == 0 || c.into == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[h.Stream]
	if s != c.into || s.gone || s.localEnd && !s.tunnel || !s.store(b) {
		c.giveBack(int64(len(b)))
		return
	}
	s.readable.Broadcast()
}

// endData ends a DATA frame.
func (c *conn) endData(h *http2.Header) error {
	c.within = false
	if !h.Has(http2.FlagEndStream) || c.into == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[h.Stream]
	if s != c.into || s.gone {
		return nil
	}
	if s.declared >= 0 && s.received != s.declared {
		return c.streamFault(s, h.Stream, http2.ProtocolError)
	}
	s.remoteEnd = true
	s.readable.Broadcast()
	return nil
}

// giveBack gives n bytes of the connection's window back. C.mu is held.
func (c *conn) giveBack(n int64) {
	if c.credit += n; c.credit >= int64(c.engine.options.ConnWindow)/2 || c.credit >= http2.InitialWindow/2 {
		c.inWindow += c.credit
		c.out = http2.AppendWindowUpdate(c.out, 0, uint32(c.credit))
		c.credit = 0
	}
}

// store keeps what has come, and reports whether there is memory for it.
func (s *stream) store(b []byte) bool {
	for len(b) > 0 {
		if n := len(s.chunks); n == 0 || s.chunks[n-1].w == len(s.chunks[n-1].b) {
			if !s.addChunk() {
				s.bodyErr = errOverloaded
				s.readable.Broadcast()
				return false
			}
		}
		last := &s.chunks[len(s.chunks)-1]
		n := copy(last.b[last.w:], b)
		last.w += n
		s.unread += n
		b = b[n:]
	}
	return true
}

// addChunk adds a buffer. A body that is waited for as a whole has it in one.
func (s *stream) addChunk() bool {
	if len(s.chunks) == 0 && (s.declared < 0 || s.declared <= socket.SmallBuffer || s.declared > socket.LargeBuffer) {
		s.chunks = append(s.chunks, chunk{b: socket.GetSmall()})
		return true
	}
	if !s.hold(socket.LargeBuffer) {
		return false
	}
	s.chunks = append(s.chunks, chunk{b: socket.GetLarge()})
	return true
}

// dropChunk gives the first buffer back.
func (s *stream) dropChunk() {
	b := s.chunks[0].b
	s.chunks = s.chunks[:copy(s.chunks, s.chunks[1:])]
	if len(b) == socket.LargeBuffer {
		s.conn.front.Memory.Give(memory.Buffers, socket.LargeBuffer)
		s.buffer -= socket.LargeBuffer
	}
	socket.Put(b)
}

// taken ends the reading of what was handed out, and gives its window back.
func (s *stream) endHanded() {
	n := s.handed
	if n == 0 {
		return
	}
	s.handed = 0
	first := &s.chunks[0]
	switch {
	case first.r < first.w:
	case len(s.chunks) > 1, first.w == len(first.b):
		s.dropChunk()
	default:
		first.r, first.w = 0, 0
	}
	c := s.conn
	c.giveBack(int64(n))
	if s.consumed += int64(n); !s.remoteEnd && !s.gone && s.consumed >= int64(s.engine.options.StreamWindow)/2 {
		s.inWindow += s.consumed
		c.out = http2.AppendWindowUpdate(c.out, s.id, uint32(s.consumed))
		s.consumed = 0
	}
	c.flushSoon()
}

// hand hands out what is unread in the first buffer.
func (s *stream) hand() []byte {
	first := &s.chunks[0]
	b := first.b[first.r:first.w:first.w]
	first.r, s.handed = first.w, len(b)
	s.unread -= len(b)
	return b
}

// release gives all buffers back.
func (b *body) release(s *stream) {
	if n := s.unread + s.handed; n > 0 {
		s.conn.giveBack(int64(n))
	}
	s.unread, s.handed = 0, 0
	for len(s.chunks) > 0 {
		s.dropChunk()
	}
	if cap(b.kept) > http2.InlineSize {
		b.kept = nil
	}
}

// requestBody is a stream as the proxy's Body.
type requestBody stream

var _ proxy.Body = (*requestBody)(nil)

func (b *requestBody) stream() *stream { return (*stream)(b) }

// Next returns the next bytes, within the time that a body has.
func (b *requestBody) Next() ([]byte, error) {
	s := b.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.endHanded()
	var began time.Time
	for {
		switch {
		case s.bodyErr != nil:
			return nil, s.bodyErr
		case s.connects:
			return nil, io.EOF
		case s.interrupted:
			return nil, os.ErrDeadlineExceeded
		case s.unread > 0:
			s.owes = time.Time{}
			return s.hand(), nil
		case s.remoteEnd:
			s.owes = time.Time{}
			return nil, io.EOF
		}
		if began.IsZero() {
			began = time.Now()
		}
		if err := s.wait(began); err != nil {
			s.bodyErr = err
			return nil, err
		}
	}
}

// Gather waits until a small body is here: see proxy/http1.
func (b *requestBody) Gather() error {
	s := b.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.declared >= 0 && s.declared <= int64(s.engine.options.StreamWindow) && !s.Exchange.Head.Continue {
		began := time.Now()
		for !s.remoteEnd && s.bodyErr == nil && !s.interrupted {
			had := s.received
			if err := s.wait(began); err != nil {
				s.bodyErr = err
			}
			if s.received > had {
				began = time.Now()
			}
		}
		s.owes = time.Time{}
		if s.bodyErr != nil {
			return s.bodyErr
		}
	}
	if !s.remoteEnd && !s.pay(streamCost) {
		return errOverloaded
	}
	return nil
}

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// lookAgain is how often a client that is too slow, but may be, is looked at.
const lookAgain = time.Second

// wait waits until something has changed, or for long enough. C.mu is held.
func (s *stream) wait(began time.Time) error {
	o := &s.engine.options
	idle := o.BodyIdle
	if s.answered || s.isGRPC() {
		idle = o.StreamIdle // the two talk with each other
	}
	if s.late >= o.BodyIdle && s.hinders() {
		return errBodySlow
	}
	from, had := time.Now(), s.received
	if s.owes.IsZero() && !s.answered {
		s.owes, s.owed = from, s.received
	}
	by := idle - from.Sub(began)
	if o.MinRate > 0 && !s.answered {
		by = min(by, max(lookAgain, o.BodyIdle-s.late))
	}
	s.readBy = from.Add(by)
	s.readable.Wait()
	s.readBy = time.Time{}
	now := time.Now()
	if o.MinRate > 0 {
		earned := time.Duration(float64(s.received-had) / float64(o.MinRate) * float64(time.Second))
		s.late = max(0, s.late+now.Sub(from)-earned)
	}
	if s.received == had && !s.remoteEnd && now.Sub(began) >= idle {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// hinders reports whether a body that comes slowly is in anybody's way.
func (s *stream) hinders() bool {
	return !s.answered && (s.declared >= 0 || s.Wanted())
}

// While memory runs low, who keeps a request waiting for its own bytes has a second,
// and then as long as it sends so many bytes a second.
const (
	lowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// tooSlow reports whether the request is to end while memory runs low.
func (s *stream) tooSlow(now time.Time) bool {
	if s.owes.IsZero() {
		return false
	}
	took := now.Sub(s.owes)
	return took > lowMemoryTime && float64(s.received-s.owed) < took.Seconds()*lowMemoryRate
}

// wakeLate wakes who has waited for long enough. C.mu is held.
func (s *stream) wakeLate(now time.Time) {
	if !s.readBy.IsZero() && now.After(s.readBy) {
		s.readable.Broadcast()
	}
	if !s.writeBy.IsZero() && now.After(s.writeBy) {
		s.conn.room.Broadcast()
	}
}

// requestSize is about what a request takes that waits, beside its buffers.
const requestSize = 6 << 10

// Holds returns how many bytes of memory the request takes.
func (b *requestBody) Holds() int64 {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	n := requestSize + int64(s.section.Size())
	for i := range s.chunks {
		n += int64(len(s.chunks[i].b))
	}
	return n
}

// Ready reports whether Next would return bytes without waiting.
func (b *requestBody) Ready() bool {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.unread > 0 && s.bodyErr == nil && !s.interrupted && !s.connects
}

// Done reports whether the clean end has been seen.
func (b *requestBody) Done() bool {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.connects || s.remoteEnd && s.unread == 0 && s.bodyErr == nil
}

// Trailers returns the trailer fields once the end has been seen.
func (b *requestBody) Trailers() []wire.Field { return b.trailers }

// Interrupt makes a Next that waits fail.
func (b *requestBody) Interrupt() {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.interrupted = true
	s.readable.Broadcast()
}
