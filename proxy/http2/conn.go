package http2

import (
	"errors"
	"os"
	"sync"
	"time"

	"serai/front"
	"serai/internal/memory"
	"serai/proxy"
	"serai/wire/http2"
	"serai/wire/socket"
)

// conn is one client connection.
type conn struct {
	engine *Engine
	front  *front.Conn
	wire   *socket.Conn // of front

	reader // of the goroutine that serves it

	jobs chan *stream // to goroutines that wait for a stream

	mu      sync.Mutex
	streams map[uint32]*stream
	idle    int       // goroutines that wait for jobs
	tasks   int       // goroutines of this connection
	ended   sync.Cond // tasks has become 0
	active  time.Time // when the last stream ended, or the connection began
	state   state
	drainAt time.Time // when the first GOAWAY of a drain went
	lastID  uint32    // of the client's streams
	heard   time.Time // when something was read last
	looked  bool      // nothing has come since PeerGone was asked
	partial time.Time // since when a frame or head is here in part, zero for none

	writer
	settings // of the client
}

// state is what a connection is at. It only moves on.
type state uint8

const (
	serving  state = iota
	draining       // the client has been told to open no more streams
	closing        // and which was the last; the connection ends with those there are
	ending         // nothing is read any more
	cut            // and nothing is waited for
)

// connCost is what a connection takes beside what package front counts, in bytes:
// what is to be written, the table of fields, and itself.
const connCost = socket.SmallBuffer + 2*http2.TableSize

func newConn(e *Engine, f *front.Conn) *conn {
	c := &conn{engine: e, front: f, wire: &f.Socket, jobs: make(chan *stream), streams: make(map[uint32]*stream)}
	c.ended.L = &c.mu
	c.room.L = &c.mu
	c.active = time.Now()
	c.heard = c.active
	c.peerWindow, c.window, c.frame = http2.InitialWindow, http2.InitialWindow, http2.FrameSize
	c.decoder = http2.NewBlock(e.options.Limits.Head, maxBlock*e.options.Limits.Head+http2.FrameSize)
	c.decoder.Room = c.takeBlock
	c.head.Limits = e.options.Limits
	c.credit = int64(e.options.ConnWindow) - http2.InitialWindow // to be told with the settings
	c.wire.ShareWrites()
	return c
}

var _ front.Session = (*conn)(nil)

// settles is how long a connection is silent before it moves to another stack.
const settles = time.Second

// Serve serves the connection to its end, or until it is parked.
func (c *conn) Serve() front.Ending {
	if !c.began {
		c.began = true
		if !c.front.Memory.Take(memory.Connections, connCost) {
			c.fail(CauseMemory, http2.EnhanceYourCalm, "no memory is left")
			c.wire.WriteWithin(time.Now(), time.Second)
			c.finish()
			return front.Lingering
		}
		c.paid = true
		c.engine.conns.Add(1)
		c.greet()
	}
	how, parked := c.read()
	if parked {
		return front.Parked
	}
	c.finish()
	if c.paid {
		c.front.Memory.Give(memory.Connections, connCost)
		c.engine.conns.Add(-1)
	}
	return how
}

// read reads until the connection ends, or is to be parked.
func (c *conn) read() (how front.Ending, parked bool) {
	for {
		if c.settled {
			c.wire.ReadWithin(time.Now(), 0)
		} else {
			c.wire.ReadAbout(time.Now(), settles)
		}
		if c.isEnding() {
			c.wire.InterruptReads()
		}
		err := c.wire.Serve(c, c.engine.options.HeadTimeout)
		switch {
		case c.isEnding():
			return front.Lingering, false
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.mu.Lock()
			parked = len(c.streams) == 0
			c.mu.Unlock()
			if c.settled = true; parked {
				return 0, true
			}
		case err != nil:
			c.lost() // the client has left
			return front.AtOnce, false
		default:
			return front.Lingering, false
		}
	}
}

func (c *conn) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state >= ending
}

// lost ends all streams since the client cannot be reached any more.
func (c *conn) lost() {
	c.mu.Lock()
	c.broken = true
	c.state = max(c.state, ending)
	c.mu.Unlock()
	c.cancelAll(true)
}

// fail ends the connection since the client has done what it may not.
func (c *conn) fail(why Cause, code http2.Code, detail string) {
	c.mu.Lock()
	if c.state < ending {
		c.state = ending
		c.engine.ended[why].Add(1)
		c.out = http2.AppendGoAway(c.out, c.lastID, code, detail)
		if !c.cutOff {
			c.cutOff = true
			c.wire.SetWriteDeadline(time.Now().Add(lastWrite))
		}
	}
	c.mu.Unlock()
	c.cancelAll(true)
}

// lastWrite bounds how long the last frames to a client may take that is cut off.
const lastWrite = time.Second

// finish ends all goroutines of the connection, and writes what is left.
func (c *conn) finish() {
	c.mu.Lock()
	c.state = max(c.state, ending)
	close(c.jobs)
	for c.tasks > 0 {
		c.ended.Wait()
	}
	for len(c.out) > 0 && !c.broken {
		c.writeOut()
	}
	c.release()
	c.mu.Unlock()
	c.dropBlock()
}

// cancelAll ends all streams: those whose client is gone without another frame.
func (c *conn) cancelAll(gone bool) {
	for _, s := range c.all() {
		s.cancel(c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.gone = s.gone || gone
		if s.bodyErr == nil {
			s.bodyErr = errClientGone
		}
		s.readable.Broadcast()
	}
	c.room.Broadcast()
}

// named is a stream that may have become another one since.
type named struct {
	*stream
	id uint32
}

// cancel ends the stream's exchange, if it is still that one.
func (s named) cancel(c *conn) { s.do(c, (*proxy.Exchange).Cancel) }

// do calls f with the stream's exchange, if it is still that one.
func (s named) do(c *conn, f func(*proxy.Exchange)) {
	s.alive.Lock()
	defer s.alive.Unlock()
	if s.lives == s.id && s.owner == c {
		f(&s.Exchange)
	}
}

func (c *conn) all() []named {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]named, 0, len(c.streams))
	for id, s := range c.streams {
		all = append(all, named{s, id})
	}
	return all
}

// Drain tells the client to open no more streams here, and ends the connection with
// those that there are (RFC 9113 section 6.8).
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain(time.Now())
}

// drain is Drain with c.mu held.
func (c *conn) drain(now time.Time) {
	if c.state != serving {
		return
	}
	c.state, c.drainAt = draining, now
	c.out = http2.AppendGoAway(c.out, http2.MaxStream, http2.NoError, "")
	c.out = http2.AppendPing(c.out, 0, drainPing)
	c.flushSoon()
}

// drainPing is what comes back once the client has seen the GOAWAY before it.
var drainPing = [8]byte{'s', 'e', 'r', 'a', 'i', 'e', 'n', 'd'}

// drained tells which stream was the last. C.mu is held.
func (c *conn) drained() {
	if c.state == draining {
		c.state = closing
		c.out = http2.AppendGoAway(c.out, c.lastID, http2.NoError, "")
		c.flushSoon()
	}
	c.mayEnd()
}

// mayEnd ends the connection when a drain waits for nothing more. C.mu is held.
func (c *conn) mayEnd() {
	if c.state == closing && len(c.streams) == 0 {
		c.state = ending
		c.wire.InterruptReads()
	}
}

// Cut ends the connection whatever is under way.
func (c *conn) Cut() {
	c.mu.Lock()
	if c.state < ending {
		c.out = http2.AppendGoAway(c.out, c.lastID, http2.NoError, "")
	}
	c.state = cut
	if !c.cutOff {
		c.cutOff = true
		c.wire.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	c.mu.Unlock()
	for _, s := range c.all() {
		s.do(c, func(x *proxy.Exchange) { x.EndTunnel() })
	}
	c.cancelAll(false)
	c.wire.InterruptReads()
}

// Requests that have waited for longer than this are looked at.
const watchAfter = 100 * time.Millisecond

// Check ends what waits in vain.
func (c *conn) Check(now time.Time) {
	o := &c.engine.options
	c.mu.Lock()
	silent := now.Sub(c.heard)
	look := silent > settles && !c.looked
	c.looked = c.looked || look
	switch {
	case c.state >= ending:
	case !c.partial.IsZero() && now.Sub(c.partial) > o.HeadTimeout:
		c.mu.Unlock()
		c.engine.proxy.Count(proxy.ReasonHeadTimeout)
		c.fail(CauseHead, http2.EnhanceYourCalm, "a frame or head did not come in time")
		c.wire.InterruptReads()
		return
	case c.state == draining && now.Sub(c.drainAt) > settles:
		c.drained()
	case c.state == serving && len(c.streams) == 0 && now.Sub(c.active) > o.KeepAlive:
		c.drain(now)
	}
	if len(c.streams) == 0 && c.idle > 0 && c.state < ending {
		c.endWorkers()
	}
	for _, s := range c.streams {
		s.wakeLate(now)
	}
	some := len(c.streams) > 0
	c.mu.Unlock()
	if look && c.wire.PeerGone() {
		c.wire.InterruptReads()
		c.lost()
		return
	}
	if some {
		c.checkStreams(now)
	}
}

// checkStreams ends the attempts whose way is cut, and requests that keep memory for
// nothing while it runs low.
func (c *conn) checkStreams(now time.Time) {
	low := c.front.Memory.RunsLow(memory.Requests)
	for _, s := range c.all() {
		s.do(c, func(x *proxy.Exchange) {
			if since := x.WaitingSince(); !since.IsZero() && now.Sub(since) > watchAfter {
				x.CheckPath()
			}
		})
		if low {
			c.mu.Lock()
			if c.streams[s.id] == s.stream && s.tooSlow(now) {
				s.bodyErr = errOverloaded
				s.readable.Broadcast()
			}
			c.mu.Unlock()
		}
	}
}

// endWorkers ends the goroutines that wait for a stream: the stacks are for bursts.
// C.mu is held.
func (c *conn) endWorkers() {
	for range c.idle {
		select {
		case c.jobs <- nil:
		default:
			return
		}
	}
}

// start has a stream served. C.mu is held.
func (c *conn) start(s *stream) {
	select {
	case c.jobs <- s:
	default:
		c.tasks++
		go c.work(s)
	}
}

// maxIdle bounds the goroutines of a connection that wait for a stream.
const maxIdle = 16

// work serves one stream after the other.
func (c *conn) work(s *stream) {
	defer c.endTask()
	for s != nil {
		s.serve()
		c.mu.Lock()
		enough := c.idle >= maxIdle
		if !enough {
			c.idle++
		}
		c.mu.Unlock()
		if enough {
			return
		}
		s = <-c.jobs
		c.mu.Lock()
		c.idle--
		c.mu.Unlock()
	}
}

// endTask counts a goroutine out.
func (c *conn) endTask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks--; c.tasks == 0 {
		c.ended.Broadcast()
	}
}
