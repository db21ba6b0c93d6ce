package http2

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/proxy"
	"serai/wire"
	"serai/wire/http2"
)

// stream is one request and its answer. It is reused, also by other connections.
type stream struct {
	proxy.Exchange
	engine  *Engine
	conn    *conn
	id      uint32
	section http2.Section
	refused *wire.Error // why the head was refused, nil if it was not

	// A goroutine that ends the exchange from outside holds alive, and checks with lives
	// and owner that the exchange still belongs to the stream that it means.
	alive sync.Mutex
	lives uint32 // the ID while the exchange runs, 0 otherwise
	owner *conn

	memoryUse proxy.MemoryUse
	buffer    int64 // bytes of large buffers
	spilled   int64 // bytes of small buffers in place of large ones

	body
	answer

	// Guarded by conn.mu.
	gone      bool // it was reset, or the client is gone
	byPeer    bool // the client has reset it
	remoteEnd bool // the client sends no more
	localEnd  bool // nothing more is sent
	window    int64
	waits     bool // it waits to send DATA
	priority
}

var (
	errClientGone = errors.New("the client has reset the stream")
	errOverloaded = wire.ErrOverloaded
)

func newStream(e *Engine) *stream {
	s := &stream{engine: e}
	s.section.Limits = e.options.Limits
	s.section.Room = s.largeHead
	s.Exchange.Body, s.Exchange.Responder = (*requestBody)(s), (*responder)(s)
	return s
}

// get takes a stream from the pool, for a head that has begun to come.
func (e *Engine) get(c *conn, id uint32) *stream {
	s := e.streams.Get().(*stream)
	s.conn, s.id = c, id
	s.refused, s.gone, s.byPeer, s.remoteEnd, s.localEnd = nil, false, false, false, false
	s.readable.L = &c.mu
	s.section.Reset()
	s.body.reset()
	s.answer.reset()
	return s
}

// put returns a stream to the pool.
func (e *Engine) put(s *stream) {
	s.returnMemory()
	s.conn = nil
	e.streams.Put(s)
}

// returnMemory gives back all memory that the stream has taken.
func (s *stream) returnMemory() {
	b := s.conn.front.Memory
	s.memoryUse.End(b)
	if s.buffer > 0 {
		b.Give(memory.Buffers, s.buffer)
		s.buffer = 0
	}
}

// largeHead takes memory for a head that is larger than usual.
func (s *stream) largeHead() bool { return s.hold(2 * int64(s.engine.options.Limits.Head)) }

// hold takes n bytes of memory for large buffers.
func (s *stream) hold(n int64) bool {
	if !s.conn.front.Memory.Take(memory.Buffers, n) {
		return false
	}
	s.buffer += n
	return true
}

// begin prepares the exchange for the head that has come.
func (s *stream) begin(now time.Time) {
	s.Exchange.Reset()
	p := &s.conn.front.Peer
	s.Peer, s.PeerText, s.Local, s.PortText = p.Remote, p.RemoteText, p.Local, p.PortText
	s.Secure, s.TLSVersion, s.ServerName = p.Secure, p.TLSVersion, p.ServerName
	s.Memory = p.Memory
	s.Shard = p.Shard + int(s.id>>1)
	s.Start, s.Now = now, now
	s.alive.Lock()
	s.lives, s.owner = s.id, s.conn
	s.alive.Unlock()
}

// serve serves the exchange, and returns the stream to the pool.
func (s *stream) serve() {
	c := s.conn
	defer s.contain(c, s.id)
	if s.refused != nil {
		s.refuse()
	} else {
		if isWebSocket(s.Head.Upgrade) {
			s.beginWebSocket()
		}
		s.engine.proxy.Serve(&s.Exchange)
	}
	s.finish(c)
}

// refuse answers a request that is not valid.
func (s *stream) refuse() {
	h, body := s.Refusal(s.refused, "")
	r := (*responder)(s)
	if r.Head(h) == nil && len(body) > 0 && string(s.Head.Method) != "HEAD" {
		r.write(body, lastWrite) // the request has taken no memory
	}
	s.answer.code = http2.ProtocolError
	if s.refused.Status == 503 || s.refused.Status == 431 {
		s.answer.code = http2.NoError
	}
	r.Finish(nil)
	s.engine.proxy.Refused(&s.Exchange, s.refused)
}

// finish ends the stream on the wire, and removes it from the connection.
func (s *stream) finish(c *conn) {
	s.alive.Lock()
	s.lives, s.owner = 0, nil
	s.alive.Unlock()
	c.mu.Lock()
	switch {
	case s.gone, c.broken: // nothing may be sent any more
	case !s.localEnd && s.tunnel && s.answer.code == http2.NoError: // a tunnel that was not cut
		s.endLocal()
		if !s.remoteEnd {
			c.resetAnswered(s.id)
		}
	case !s.localEnd: // no answer, or one that was cut
		c.reset(s.id, s.answer.abort())
	case s.answer.code == http2.NoError && (s.remoteEnd || s.discards()): // the client ends it, or has done so
	case s.answer.code == http2.NoError: // it has its answer, and must not send the rest of its request
		c.resetAnswered(s.id)
	default:
		c.reset(s.id, s.answer.code)
	}
	s.localEnd = true
	s.body.release(s)
	c.remove(s.id)
	c.mu.Unlock()
	s.engine.put(s)
	c.mu.Lock()
	c.flush(c.state < ending)
	c.mu.Unlock()
}

// remove removes a stream, which may have been the last one. c.mu is held.
func (c *conn) remove(id uint32) {
	delete(c.streams, id)
	c.recent = nil
	c.engine.open.Add(-1)
	if len(c.streams) == 0 {
		c.active = time.Now()
	}
	if c.front.Retiring() {
		c.drain(time.Now())
	}
	c.mayEnd()
}

// contain ends a stream in which serai has panicked. The proxy contains panics while it
// serves a request.
func (s *stream) contain(c *conn, id uint32) {
	cause := recover()
	if cause == nil {
		return
	}
	s.engine.proxy.Panicked(fmt.Sprint(cause), &s.Exchange)
	s.engine.proxy.Count(proxy.ReasonPanic)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream(id) == s {
		s.body.release(s)
		s.returnMemory() // the stream is not reused
		c.reset(id, http2.InternalError)
		c.remove(id)
	}
	c.flushSoon()
}
