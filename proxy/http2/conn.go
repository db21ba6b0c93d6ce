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

	mu       sync.Mutex
	streams  map[uint32]*stream
	idle     int       // goroutines that wait for jobs
	tasks    int       // goroutines of this connection
	ended    sync.Cond // tasks has become 0
	active   time.Time // when the last stream ended, or the connection began
	state    state
	drainAt  time.Time // when the first GOAWAY of a drain went
	lastID   uint32    // of the client's streams
	last     uint32    // that the client was told is the last one it will have answered
	toldLast bool
	heard    time.Time // when something was read last
	looked   bool      // nothing has come since PeerGone was asked
	partial  time.Time // since when a frame or head is here in part, zero for none
	large    bool      // that head has taken memory for large ones

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
	c.credit = int64(e.options.ConnWindow) - http2.InitialWindow
	c.wire.ShareWrites()
	c.greet()
	return c
}

var _ front.Session = (*conn)(nil)

// settles is how long a connection is silent before it moves to another stack.
const settles = time.Second

// Serve serves the connection to its end, or until it is parked.
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
		c.paid = true
		c.engine.conns.Add(1)
		c.mu.Lock()
		c.flushSoon()
		c.mu.Unlock()
	}
	how, parked := c.read()
	if parked {
		return front.Parked
	}
	c.over()
	return how
}

// over is the end of a connection that has begun.
func (c *conn) over() {
	c.finish()
	if c.paid {
		c.front.Memory.Give(memory.Connections, connCost)
		c.engine.conns.Add(-1)
	}
}

// contain is deferred by Serve: a panic in what reads a connection ends it with its
// streams. Those in a stream are the stream's.
func (c *conn) contain(end *front.Ending) {
	if cause := recover(); cause != nil {
		c.engine.proxy.ConnectionPanicked(cause, string(c.front.RemoteText))
		c.lost()
		c.over()
		*end = front.Reset
	}
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
		err := c.serveWire()
		switch {
		case c.isEnding():
			if c.isBroken() {
				c.cancelAll(true) // nobody can be told of their end
			}
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

// serveWire takes what comes for as long as the connection goes on.
func (c *conn) serveWire() error {
	if c.settled {
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
		c.goAway(code, detail)
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
