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

// writer is the output of a connection. All of it is guarded by conn.mu.
type writer struct {
	out      []byte    // frames to be written; any goroutine appends to it
	spare    []byte    // the previous buffer of out
	flushing bool      // a goroutine writes, or is about to
	broken   bool      // nothing can be written any more
	cutOff   bool      // the deadline of the last write is set
	reserved int64     // bytes of memory that large buffers hold
	room     sync.Cond // signals that out has become shorter, or a window larger
	waiting  int       // number of goroutines that wait for room
	writes   time.Time // start of the current write, zero for none
	outs     uint64    // how often out was written

	window  int64 // bytes of DATA that may be sent on all streams together
	updates int64 // WINDOW_UPDATEs that the client may send for what it was sent

	prioritized bool              // the client has sent a priority
	turns       uint64            // the last turn that was given out
	early       *[8]earlyPriority // nil until there are any
	nEarly      int               // how many there were
}

// settings are the client's settings.
type settings struct {
	peerWindow int64 // window of new streams
	frame      int   // largest payload of a frame
	resized    bool  // the next block must begin with NoTable
	sent       bool  // something was sent since the last PING
}

// Bounds of the output, in bytes: outSize, beyond which streams wait, and maxControls for
// answers to frames of a client that does not read them.
const (
	outSize     = socket.LargeBuffer
	maxControls = 16 << 10
	// A flush of less than this yields first, so that other goroutines can add frames.
	yieldBelow = 48 << 10
)

// space returns how many bytes may be appended to out.
func (c *conn) space() int {
	if c.out == nil {
		c.takeOut()
	}
	// Frames that must not wait may have made it larger than outSize.
	return max(0, min(cap(c.out), outSize)-len(c.out))
}

// fits reports whether a head of n bytes may be appended to out: it may if out is
// empty, or if it fits into the buffer.
func (c *conn) fits(n int) bool {
	if len(c.out) == 0 {
		return true
	}
	if len(c.out)+n+http2.HeaderSize > cap(c.out) {
		c.enlarge()
	}
	return len(c.out) <= outSize/2 && len(c.out)+n+http2.HeaderSize <= cap(c.out)
}

// takeOut gives out a buffer.
func (c *conn) takeOut() {
	if c.spare != nil {
		c.out, c.spare = c.spare[:0], nil
		return
	}
	c.out = socket.GetSmall()[:0]
}

// enlarge gives out a large buffer, if there is memory for two: one is filled while the
// other one is written.
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

// release releases the buffers when nothing is left to write.
func (c *conn) release() {
	if len(c.out) > 0 && !c.broken {
		return
	}
	if len(c.out) > 0 {
		c.outs++ // it is dropped, and its frames must not be looked for in the next one
	}
	socket.Put(c.out)
	socket.Put(c.spare)
	c.out, c.spare = nil, nil
	if c.reserved > 0 {
		c.front.Memory.Give(memory.Buffers, c.reserved)
		c.reserved = 0
	}
}

// flush has out written, by this goroutine unless another one is writing. c.mu is held,
// and released meanwhile.
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
		// A stream writes once. It must not be delayed by what others have added.
		c.tasks++
		go c.flushRest()
		return
	}
	c.flushing = false
	c.release()
}

// flushSoon is flush for a goroutine that must not wait. c.mu is held.
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

// writeOut writes out once. c.mu is held, and released meanwhile.
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
			if errors.Is(err, os.ErrDeadlineExceeded) { // otherwise the client is gone
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
	c.ignore(id)
}
