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

// body is the part of a request's body that has come and was not read yet. It is
// guarded by conn.mu.
type body struct {
	readable sync.Cond
	bodyState
}

// bodyState is the part of a body that is reset for each request.
type bodyState struct {
	chunks  []chunk
	unread  int
	reading int  // bytes of the first chunk that the caller of Next uses
	again   int  // bytes that are read again: the client has their window back
	passed  bool // bytes that were read are not here any more

	initial  int64 // the window that it began with, or that all streams have got since
	inWindow int64 // bytes that the client may still send
	consumed int64 // bytes that were read but not given back to the window
	declared int64 // Content-Length, -1 for none
	received int64
	message  int64 // size of the first gRPC message with its prefix; -1 when nobody waits for it

	bodyErr     error
	interrupted bool
	connects    bool // an extended CONNECT: DATA belongs to the tunnel, there is no body
	grpc        bool // the client speaks gRPC
	trailers    []wire.Field
	kept        []byte // the bytes of trailers

	late     time.Duration // longer than the minimum rate allows: see proxy/http1
	answered bool          // the final answer has begun
	readBy   time.Time     // when a waiting reader must check its deadline
}

// chunk is a buffer of which [r:w] was not read yet.
type chunk struct {
	b     []byte
	r, w  int
	spill bool // it is counted as memory.Streams
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

// keep copies p to memory of the stream.
func (b *body) keep(p []byte) []byte {
	start := len(b.kept)
	b.kept = append(b.kept, p...)
	return b.kept[start:len(b.kept):len(b.kept)]
}

// store keeps bytes that have come. It returns those for which there was no memory; the body
// has failed then.
func (s *stream) store(b []byte) (rest []byte) {
	if s.message == 0 {
		s.message = s.firstMessage(b)
	}
	for len(b) > 0 {
		if n := len(s.chunks); n == 0 || s.chunks[n-1].w == len(s.chunks[n-1].b) {
			if !s.addChunk() {
				s.bodyErr = errOverloaded
				return b
			}
		}
		last := &s.chunks[len(s.chunks)-1]
		n := copy(last.b[last.w:], b)
		last.w += n
		s.unread += n
		b = b[n:]
	}
	return nil
}

// firstMessage returns the size of the gRPC message that begins with b; -1 if the proxy
// does not wait for it.
func (s *stream) firstMessage(b []byte) int64 {
	const prefix = 5 // a flag for compression, and the length
	if s.declared >= 0 || len(b) < prefix || !s.grpc {
		return -1
	}
	size := prefix + int64(binary.BigEndian.Uint32(b[1:]))
	if size > s.mostGathered() {
		return -1
	}
	return size
}

// mostGathered is the size up to which a body or message is waited for completely.
func (s *stream) mostGathered() int64 { return min(s.initial, int64(s.engine.options.StreamWindow)) }

// addChunk adds a buffer. A body that is waited for completely gets one buffer for all
// of it.
func (s *stream) addChunk() bool {
	whole := max(s.declared, s.message)
	small := s.initial <= socket.SmallBuffer // two small buffers are enough for all
	if small || len(s.chunks) == 0 && (whole < 0 || whole <= socket.SmallBuffer || whole > socket.LargeBuffer) {
		s.chunks = append(s.chunks, chunk{b: socket.GetSmall()})
		return true
	}
	if s.hold(socket.LargeBuffer) {
		s.chunks = append(s.chunks, chunk{b: socket.GetLarge()})
		return true
	}
	// The client was allowed to send this much. Streams that begin from now on get a
	// smaller window.
	if !s.conn.front.Memory.Take(memory.Streams, socket.SmallBuffer) {
		return false
	}
	s.spilled += socket.SmallBuffer
	s.chunks = append(s.chunks, chunk{b: socket.GetSmall(), spill: true})
	return true
}

// dropChunk releases the first buffer.
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

// endRead ends the use of the bytes that beginRead returned, and reopens the windows by
// as much. It reports whether the client is told so; the caller flushes that. c.mu is held.
func (s *stream) endRead() (told bool) {
	n := s.reading
	if n == 0 {
		return false
	}
	s.reading = 0
	first := &s.chunks[0]
	switch {
	case first.r < first.w:
	case len(s.chunks) > 1, first.w == len(first.b), first.spill:
		s.dropChunk()
		s.passed = true
	case s.passed, s.answered, s.connects: // nobody reads it again: see Rewind
		first.r, first.w = 0, 0
		s.passed = true
	}
	back := min(n, s.again)
	s.again -= back
	if n -= back; n == 0 {
		return false
	}
	c := s.conn
	had := len(c.out)
	c.giveBack(int64(n))
	if s.consumed += int64(n); !s.remoteEnd && !s.gone && s.consumed >= s.initial/2 {
		s.reopen()
	}
	return len(c.out) > had
}

// reopen reopens the stream's window by the bytes that were read. c.mu is held.
func (s *stream) reopen() {
	s.inWindow += s.consumed
	s.conn.out = http2.AppendWindowUpdate(s.conn.out, s.id, uint32(s.consumed))
	s.consumed = 0
}

// beginRead returns the unread bytes of the first buffer.
func (s *stream) beginRead() []byte {
	first := &s.chunks[0]
	b := first.b[first.r:first.w:first.w]
	first.r, s.reading = first.w, len(b)
	s.unread -= len(b)
	return b
}

// release releases all buffers.
func (b *body) release(s *stream) {
	if n := s.unread + s.reading - s.again; n > 0 {
		s.conn.giveBack(int64(n))
	}
	s.unread, s.reading, s.again = 0, 0, 0
	for len(s.chunks) > 0 {
		s.dropChunk()
	}
	if cap(b.kept) > http2.InlineSize {
		b.kept = nil
	}
}
