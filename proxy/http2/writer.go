package http2

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// writer is what a connection has to write. All of it is guarded by conn.mu.
type writer struct {
	out      []byte    // frames to be written, appended by everybody
	spare    []byte    // the buffer that out was before
	flushing bool      // somebody writes, or is about to
	broken   bool      // nothing can be written any more
	cutOff   bool      // the deadline of the last write is set
	reserved int64     // bytes of memory that large buffers hold
	room     sync.Cond // out has become shorter, or a window larger
	waiting  int       // streams that wait for it
	writes   time.Time // since when the client is given something to take, zero when it is not
	outs     uint64    // how often out has been written

	window  int64 // that the client leaves for DATA of all streams
	updates int64 // how often the client may open a window for what it was sent

	prioritized bool              // the client has said which stream goes first
	turns       uint64            // of streams, so far
	early       *[8]earlyPriority // nil until there are any
	nEarly      int               // that there have been
}

// settings are what the client has said.
type settings struct {
	peerWindow int64 // for each new stream
	frame      int   // largest payload
	resized    bool  // the next block is to begin with NoTable
	sent       bool  // something was sent since the last PING
}

// Bounds of what waits to be written, in bytes: of all, beyond which streams wait, and
// of answers to what the client sends without reading them.
const (
	outSize     = socket.LargeBuffer
	maxControls = 16 << 10
	// Below this a flush lets others add to it first.
	yieldBelow = 48 << 10
)

// space returns how many bytes may be appended to out.
func (c *conn) space() int {
	if c.out == nil {
		c.takeOut()
	}
	// What others may not wait with can have made it larger than it is to be.
	return max(0, min(cap(c.out), outSize)-len(c.out))
}

// fits reports whether a head of n bytes may be appended to out: alone, or where it fits
// a buffer for which there is memory.
func (c *conn) fits(n int) bool {
	if len(c.out) == 0 {
		return true
	}
	if len(c.out)+n+http2.HeaderSize > cap(c.out) {
		c.enlarge()
	}
	return len(c.out) <= outSize/2 && len(c.out)+n+http2.HeaderSize <= cap(c.out)
}

// takeOut makes out a buffer.
func (c *conn) takeOut() {
	if c.spare != nil {
		c.out, c.spare = c.spare[:0], nil
		return
	}
	c.out = socket.GetSmall()[:0]
}

// enlarge makes out a large buffer, if there is memory for it and for the one that is
// being written meanwhile.
func (c *conn) enlarge() {
	if cap(c.out) >= outSize {
		return
	}
	if c.reserved == 0 {
		if !c.front.Memory.Take(memory.Buffers, 2*outSize) {
			return
		}
		c.reserved = 2 * outSize
	}
	large := append(socket.GetLarge()[:0], c.out...)
	socket.Put(c.out[:cap(c.out)])
	c.out = large
}

// release gives the buffers back when nothing is to be written.
func (c *conn) release() {
	if len(c.out) > 0 && !c.broken {
		return
	}
	if len(c.out) > 0 {
		c.outs++ // it will not be written, and nobody may look for its frames in what follows
	}
	socket.Put(c.out)
	socket.Put(c.spare)
	c.out, c.spare = nil, nil
	if c.reserved > 0 {
		c.front.Memory.Give(memory.Buffers, c.reserved)
		c.reserved = 0
	}
}

// flush has what is in out written: by this goroutine unless another one does. C.mu
// is held, and let go meanwhile.
func (c *conn) flush(yield bool) {
	if c.flushing || len(c.out) == 0 || c.broken {
		return
	}
	c.flushing = true
	if yield && len(c.out) < yieldBelow {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.writeOut()
	if len(c.out) > 0 && !c.broken {
		// A stream writes once: what others have added is not to hold it.
		c.tasks++
		go c.flushRest()
		return
	}
	c.flushing = false
	c.release()
}

// flushSoon is flush for those who may not wait. C.mu is held.
func (c *conn) flushSoon() {
	if c.flushing || len(c.out) == 0 || c.broken || c.state >= ending {
		return
	}
	c.flushing = true
	c.tasks++
	go c.flushRest()
}

// flushRest writes until nothing is left.
func (c *conn) flushRest() {
	defer c.endTask()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && !c.broken {
		c.writeOut()
	}
	c.flushing = false
	c.release()
}

// writeOut writes out once. C.mu is held, and let go meanwhile.
func (c *conn) writeOut() {
	b := c.out
	c.out = nil
	c.outs++
	late := c.cutOff
	c.writes = time.Now()
	c.mu.Unlock()
	if !late {
		c.wire.WriteWithin(time.Now(), c.engine.options.WriteIdle)
	}
	_, err := c.wire.Write(b)
	c.mu.Lock()
	c.writes = time.Time{}
	if cap(b) >= socket.SmallBuffer && cap(b) <= socket.LargeBuffer && c.spare == nil {
		c.spare = b
	} else {
		socket.Put(b)
	}
	if err != nil && !c.broken {
		c.broken = true
		if c.state < ending {
			c.state = ending
			if errors.Is(err, os.ErrDeadlineExceeded) { // else the client is gone
				c.engine.ended[CauseSlow].Add(1)
			}
		}
		c.wire.InterruptReads()
	}
	if c.waiting > 0 || c.broken {
		c.room.Broadcast()
	}
}

// reset sends RST_STREAM. C.mu is held.
func (c *conn) reset(id uint32, code http2.Code) {
	c.out = http2.AppendRSTStream(c.out, id, code)
	c.forget(id)
}
