package http2

import (
	"encoding/binary"
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

	first    int64 // the window that it has begun with
	inWindow int64 // that is left to the client
	consumed int64 // of it, to be given back
	declared int64 // by Content-Length, -1 when it is not
	received int64
	message  int64 // size of the first message of gRPC, with its prefix; -1 once nobody waits for it

	bodyErr     error
	interrupted bool
	connects    bool // what comes is the tunnel's: there is no body
	grpc        bool // the client speaks gRPC
	trailers    []wire.Field
	kept        []byte // their bytes

	late     time.Duration // as in proxy/http1: beyond what the least rate allows
	answered bool          // the final answer has begun: a pause is nobody's fault
	readBy   time.Time     // when who waits is to look again
}

// chunk is a buffer of which [r:w] is unread.
type chunk struct {
	b     []byte
	r, w  int
	spill bool // it counts for memory.Streams
}

func (b *body) reset() {
	b.bodyState = bodyState{chunks: b.chunks[:0], trailers: b.trailers[:0], kept: b.kept[:0], declared: -1}
}

// declare prepares for the body that the head announces.
func (s *stream) declare() {
	s.connects = s.Head.Upgrade != nil
	s.grpc = proxy.IsGRPC(s.Head.Fields)
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

// store keeps what has come, and reports whether there is memory for it.
func (s *stream) store(b []byte) bool {
	if s.message == 0 {
		s.message = s.firstMessage(b)
	}
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

// firstMessage returns the size of the message of gRPC that begins with b; -1 where it is none
// that is waited for.
func (s *stream) firstMessage(b []byte) int64 {
	const prefix = 5 // whether it is compressed, and its length
	if s.declared >= 0 || len(b) < prefix || !s.grpc {
		return -1
	}
	size := prefix + int64(binary.BigEndian.Uint32(b[1:]))
	if size > s.mostGathered() {
		return -1
	}
	return size
}

// mostGathered is how large a body may be that is waited for as a whole.
func (s *stream) mostGathered() int64 { return min(s.first, int64(s.engine.options.StreamWindow)) }

// addChunk adds a buffer. What is waited for as a whole has it in one.
func (s *stream) addChunk() bool {
	whole := max(s.declared, s.message)
	small := s.first <= socket.SmallBuffer // then two of them are all there may be
	if small || len(s.chunks) == 0 && (whole < 0 || whole <= socket.SmallBuffer || whole > socket.LargeBuffer) {
		s.chunks = append(s.chunks, chunk{b: socket.GetSmall()})
		return true
	}
	if s.hold(socket.LargeBuffer) {
		s.chunks = append(s.chunks, chunk{b: socket.GetLarge()})
		return true
	}
	// The client was allowed to send it. Streams that begin from now on are not.
	if !s.conn.front.Memory.Take(memory.Streams, socket.SmallBuffer) {
		return false
	}
	s.spilled += socket.SmallBuffer
	s.chunks = append(s.chunks, chunk{b: socket.GetSmall(), spill: true})
	return true
}

// dropChunk gives the first buffer back.
func (s *stream) dropChunk() {
	b, spill := s.chunks[0].b, s.chunks[0].spill
	s.chunks = s.chunks[:copy(s.chunks, s.chunks[1:])]
	switch {
	case len(b) == socket.LargeBuffer:
		s.conn.front.Memory.Give(memory.Buffers, socket.LargeBuffer)
		s.buffer -= socket.LargeBuffer
	case spill:
		s.conn.front.Memory.Give(memory.Streams, socket.SmallBuffer)
		s.spilled -= socket.SmallBuffer
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
	case len(s.chunks) > 1, first.w == len(first.b), first.spill:
		s.dropChunk()
	default:
		first.r, first.w = 0, 0
	}
	c := s.conn
	c.giveBack(int64(n))
	if s.consumed += int64(n); !s.remoteEnd && !s.gone && s.consumed >= s.first/2 {
		s.reopen()
	}
	c.flushSoon()
}

// reopen gives the stream's window back, as far as it is consumed. C.mu is held.
func (s *stream) reopen() {
	s.inWindow += s.consumed
	s.conn.out = http2.AppendWindowUpdate(s.conn.out, s.id, uint32(s.consumed))
	s.consumed = 0
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
