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

	reader // used by the goroutine that serves the connection

	jobs chan *stream // streams for idle goroutines

	mu       sync.Mutex
	streams  map[uint32]*stream
	recent   *stream   // the one of streams that was last looked for; may be nil
	idle     int       // number of goroutines that wait for jobs
	tasks    int       // number of goroutines of this connection
	noTasks  sync.Cond // tasks has become 0
	active   time.Time // when the last stream ended, or the connection began
	state    state
	toldLast bool      // GOAWAY has named it
	looked   bool      // PeerGone was called since heard
	large    bool      // the incomplete head uses memory for a large one
	drainAt  time.Time // when the first GOAWAY of a drain was sent
	lastID   uint32    // highest ID of the client's streams
	last     uint32    // last stream that GOAWAY names
	heard    time.Time // when something was last read
	partial  time.Time // since when an incomplete frame or head is here, zero for none

	writer
	settings // the client's
}

// state is the state of a connection. It only moves forward.
type state uint8

const (
	serving  state = iota
	draining       // the client was told to open no more streams
	closing        // and which one was the last; the connection ends after its streams
	ending         // nothing is read any more
	cut            // and nothing is waited for
)

// connCost is the memory of a connection beyond what package front counts, in bytes:
// frames to be written, the field tables, and the connection itself.
const connCost = socket.SmallBuffer + 2*http2.TableSize

func newConn(e *Engine, f *front.Conn) *conn {
	c := &conn{engine: e, front: f, wire: &f.Socket, jobs: make(chan *stream), streams: make(map[uint32]*stream)}
	c.noTasks.L = &c.mu
	c.room.L = &c.mu
	c.active = time.Now()
	c.heard = c.active
	c.peerWindow, c.window, c.frame = http2.InitialWindow, http2.InitialWindow, http2.FrameSize
	c.decoder = http2.NewBlock(e.options.Limits.Head, maxBlock*e.options.Limits.Head+http2.FrameSize)
	c.decoder.Room = c.takeBlock
	c.credit = int64(e.options.ConnWindow) - http2.InitialWindow
	c.wire.ShareWrites()
	c.greet()
	return c
}

var _ front.Session = (*conn)(nil)

// parkAfter is how long a connection is silent before it is parked, and then served by
// a goroutine with a small stack.
const parkAfter = time.Second

// Serve serves the connection until it ends or is parked.
func (c *conn) Serve() (end front.Ending) {
	defer c.contain(&end)
	if !c.began {
		c.began = true
		if !c.front.Memory.Take(memory.Connections, connCost) {
			c.fail(CauseMemory, http2.EnhanceYourCalm, "no memory is left")
			c.wire.WriteWithin(time.Now(), time.Second)
			c.finish()
			return front.Lingering
		}
		c.counted = true
		c.engine.conns.Add(1)
		c.mu.Lock()
		c.flushSoon()
		c.mu.Unlock()
	}
	how, parked := c.read()
	if parked {
		return front.Parked
	}
	c.end()
	return how
}

// end ends a connection that has begun.
func (c *conn) end() {
	c.finish()
	if c.counted {
		c.front.Memory.Give(memory.Connections, connCost)
		c.engine.conns.Add(-1)
	}
}

// contain is deferred by Serve: a panic in the goroutine that reads the connection ends
// it and its streams. Panics in a stream's goroutine are contained there.
func (c *conn) contain(end *front.Ending) {
	if cause := recover(); cause != nil {
		c.engine.proxy.ConnectionPanicked(cause, string(c.front.RemoteText))
		c.clientLost()
		c.end()
		*end = front.Reset
	}
}

// read reads until the connection ends or should be parked.
func (c *conn) read() (how front.Ending, parked bool) {
	for {
		if c.quiet {
			c.wire.ReadWithin(time.Now(), 0)
		} else {
			c.wire.ReadAbout(time.Now(), parkAfter)
		}
		if c.isEnding() {
			c.wire.InterruptReads()
		}
		err := c.serveWire()
		switch {
		case c.isEnding():
			if c.isBroken() {
				c.cancelAll(true) // nothing can be sent any more
			}
			return front.Lingering, false
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.mu.Lock()
			parked = len(c.streams) == 0
			c.mu.Unlock()
			if c.quiet = true; parked {
				return 0, true
			}
		case err != nil:
			c.clientLost() // the client has left
			return front.AtOnce, false
		default:
			return front.Lingering, false
		}
	}
}

// serveWire takes what comes for as long as the connection goes on.
func (c *conn) serveWire() error {
	if c.quiet {
		if err := c.wire.Await(); err != nil {
			return err
		}
	}
	return c.wire.Serve(c, c.engine.options.HeadTimeout)
}

func (c *conn) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state >= ending
}

func (c *conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// clientLost ends all streams because the client cannot be reached any more.
func (c *conn) clientLost() {
	c.mu.Lock()
	c.broken = true
	c.state = max(c.state, ending)
	c.mu.Unlock()
	c.cancelAll(true)
}

// fail ends the connection because the client has broken a rule or exceeded a limit.
func (c *conn) fail(why Cause, code http2.Code, detail string) {
	c.mu.Lock()
	if c.state < ending {
		c.state = ending
		c.engine.ended[why].Add(1)
		c.goAway(code, detail)
		if !c.cutOff {
			c.cutOff = true
			c.wire.SetWriteDeadline(time.Now().Add(lastWrite))
		}
	}
	c.mu.Unlock()
	if why == CauseMemory {
		c.cutOffAll(proxy.ReasonOverloaded)
	}
	c.cancelAll(true)
}

// lastWrite bounds the time for the last frames to a client that is cut off.
const lastWrite = time.Second

// finish waits for all goroutines of the connection, and writes what is left.
func (c *conn) finish() {
	c.mu.Lock()
	c.state = max(c.state, ending)
	close(c.jobs)
	for c.tasks > 0 {
		c.noTasks.Wait()
	}
	for len(c.out) > 0 && !c.broken {
		c.writeOut()
	}
	c.release()
	c.mu.Unlock()
	c.dropBlock()
}

// cancelAll ends all streams. If the client is gone, they send no other frame.
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

// cutOffAll says of all streams, which are about to be cancelled, why serai ends them.
func (c *conn) cutOffAll(why proxy.Reason) {
	for _, s := range c.all() {
		s.do(c, func(x *proxy.Exchange) { x.CutOff(why) })
	}
}

// stream returns an open stream, nil for none. Frames of the same stream often come
// together. c.mu is held.
func (c *conn) stream(id uint32) *stream {
	if s := c.recent; s != nil && s.id == id {
		return s
	}
	c.recent = c.streams[id]
	return c.recent
}

// streamRef refers to a stream that may meanwhile have been reused for another one.
type streamRef struct {
	*stream
	id uint32
}

// cancel cancels the exchange, unless the stream was reused.
func (s streamRef) cancel(c *conn) { s.do(c, (*proxy.Exchange).Cancel) }

// do calls f with the exchange, unless the stream was reused.
func (s streamRef) do(c *conn, f func(*proxy.Exchange)) {
	s.alive.Lock()
	defer s.alive.Unlock()
	if s.lives == s.id && s.owner == c {
		f(&s.Exchange)
	}
}

func (c *conn) all() []streamRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]streamRef, 0, len(c.streams))
	for id, s := range c.streams {
		all = append(all, streamRef{s, id})
	}
	return all
}
