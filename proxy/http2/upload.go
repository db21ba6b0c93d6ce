package http2

import (
	"io"
	"os"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// requestBody is a stream as the proxy's Body.
type requestBody stream

var (
	_ proxy.Body     = (*requestBody)(nil)
	_ proxy.Rewinder = (*requestBody)(nil)
)

func (b *requestBody) stream() *stream { return (*stream)(b) }

// Next returns the next bytes, within the time limits of a body.
func (b *requestBody) Next() ([]byte, error) {
	s := b.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if had := len(c.out); s.endRead() && had == 0 {
		// It writes that itself, since it will wait for this client in any case: another goroutine
		// would need a large stack each time.
		c.flush(false)
	} else {
		c.flushSoon()
	}
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
			return s.beginRead(), nil
		case s.remoteEnd:
			s.memoryUse.WaitEnds()
			return nil, io.EOF
		}
		if began.IsZero() {
			began = time.Now()
		}
		if err := s.wait(&began); err != nil {
			s.bodyErr = err
			return nil, err
		}
	}
}

// Gather waits until a small body is complete: see proxy/http1. For gRPC it waits for
// the first message, if that has begun: an instance can do nothing with a part of it,
// and a call that the instance has not begun can be sent to another one.
func (b *requestBody) Gather() (waited bool, err error) {
	s := b.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.declared >= 0 && s.declared <= s.mostGathered() && !s.Exchange.Head.Continue {
		waited = s.gather(func() bool { return true })
	} else {
		waited = s.gather(func() bool { return int64(s.unread) < s.message })
	}
	if s.message = -1; s.bodyErr != nil {
		return waited, s.bodyErr
	}
	if s.remoteEnd {
		s.memoryUse.WaitEnds()
		return waited, nil
	}
	small := s.declared >= 0 && s.declared <= socket.LargeBuffer
	if !s.memoryUse.Stream(s.conn.front.Memory, small) {
		return waited, errOverloaded
	}
	return waited, nil
}

// gather waits while more bytes can come and more reports that they are needed. It reports
// whether it had to. c.mu is held.
func (s *stream) gather(more func() bool) (waited bool) {
	var began time.Time
	for ; more() && s.gathers(); waited = true {
		if !waited {
			began = time.Now()
		}
		had := s.received
		if err := s.wait(&began); err != nil {
			s.bodyErr = err
		}
		if s.received > had {
			began = time.Now()
		}
	}
	return waited
}

// gathers reports whether to wait for more. If the connection's window is used up,
// incomplete bodies would keep each other from coming. c.mu is held.
func (s *stream) gathers() bool {
	return !s.remoteEnd && s.bodyErr == nil && !s.interrupted && !s.conn.windowUsed()
}

// requestSize is about the memory of a waiting request without its buffers.
const requestSize = 6 << 10

// Holds returns how many bytes of memory the request uses.
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

// Rewind makes the body begin again, and undoes Interrupt. It reports whether that is possible:
// the bytes that were read are still here as long as the first buffer is not used up, and the
// answer has not begun.
func (b *requestBody) Rewind() bool {
	s := b.stream()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.endRead() {
		c.flushSoon()
	}
	if s.passed || s.answered || s.connects || s.bodyErr != nil {
		return false
	}
	s.interrupted = false
	if len(s.chunks) > 0 {
		first := &s.chunks[0]
		s.unread += first.r
		s.again += first.r
		first.r = 0
	}
	return true
}

// Ready reports whether Next would return bytes without waiting.
func (b *requestBody) Ready() bool {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.unread > 0 && s.bodyErr == nil && !s.interrupted && !s.connects
}

// Done reports whether the body has ended properly.
func (b *requestBody) Done() bool {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.connects || s.remoteEnd && s.unread == 0 && s.bodyErr == nil
}

// Trailers returns the trailer fields, once the body has ended.
func (b *requestBody) Trailers() []wire.Field { return b.trailers }

// Interrupt makes a waiting Next fail.
func (b *requestBody) Interrupt() {
	s := b.stream()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.interrupted = true
	s.readable.Broadcast()
}
