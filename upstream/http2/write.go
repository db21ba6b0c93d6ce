package http2

import (
	"runtime"
	"sync/atomic"
	"time"

	"serai/wire/http2"
)

// flushWithOthers is flush for a new request. It first yields, so that other new
// requests are written together with it. c.mu is held, and released meanwhile.
func (c *conn) flushWithOthers() {
	const enough = 48 << 10
	if c.flushing {
		return
	}
	if len(c.out) > enough {
		c.flush()
		return
	}
	c.flushing = true
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
	c.flushing = false
	c.flush()
}

// flush writes the output, unless another goroutine is doing so. Except with TLS, it
// does not wait for an instance that reads slowly: the goroutine that flushes has a
// request of its own, with its own time limit. c.mu is held, and released while it
// writes.
func (c *conn) flush() {
	if c.flushing {
		return
	}
	c.flushing = true
	const most = 16
	for n := 0; len(c.out) > 0 && c.state != dead; n++ {
		if n == most {
			go c.flushRest(nil)
			return
		}
		if c.closedByNow() {
			return
		}
		b := c.takeOut()
		sent, err := c.unlocked(c.WriteNow, b)
		if err == nil && sent < len(b) {
			go c.flushRest(b[sent:])
			return
		}
		c.wrote(b, len(b)-sent, err)
	}
	c.flushEnds()
}

// flushSoon makes another goroutine flush, for callers that must not wait at all, above
// all the one that reads: an instance may read nothing before it has sent what it has
// to send. c.mu is held.
func (c *conn) flushSoon() {
	if c.flushing || len(c.out) == 0 || c.state == dead {
		return
	}
	c.flushing = true
	go c.flushRest(nil)
}

// flushRest writes rest, which is no longer in c.out, and then all of the output.
func (c *conn) flushRest(rest []byte) {
	defer c.contain()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state != dead {
		if rest == nil {
			if len(c.out) == 0 {
				break
			}
			if c.closedByNow() {
				return
			}
			rest = c.takeOut()
		}
		sent, err := c.unlocked(c.Write, rest)
		c.wrote(rest, len(rest)-sent, err)
		rest = nil
	}
	c.flushEnds()
}

// closedByNow reports whether the instance has closed the connection before the
// requests in the output are sent. The reader may learn of that later, because it must
// first read what came before. These requests use another connection, and nothing is
// written any more: flushing does not end. The first request of a connection is left to
// the reader, which nothing holds up: whether it uses another one depends on why this one
// ends, and a GOAWAY may have come. c.mu is held, as for the next three.
func (c *conn) closedByNow() bool {
	if !c.begun || !c.HungUp() {
		return false
	}
	c.retire()
	for _, s := range c.streams {
		if s.id > 1 && s.start >= c.written {
			s.fail(errClosedBefore)
		}
	}
	return true
}

// takeOut takes the output.
func (c *conn) takeOut() []byte {
	b := c.out
	c.answers, c.begun = 0, false
	c.out, c.spare = c.spare[:0], nil
	c.written += uint64(len(b))
	return b
}

// wrote records that b was written, except for left bytes at its end.
func (c *conn) wrote(b []byte, left int, err error) {
	if err != nil {
		c.written -= uint64(left)
	}
	if cap(b) <= http2.FrameSize || (c.taken > 0 || c.keeps) && cap(b) <= 2*mostOut {
		c.spare = b[:0]
	}
	if err != nil {
		c.fail(err)
	}
	c.wakeUploads()
}

// rested is how many connections without a request keep large buffers of their output. It is
// shared by the transports of all endpoints: nobody else bounds the sum of these buffers.
type rested struct{ conns atomic.Int32 }

// mostRested bounds it: 8 MiB, as each has two buffers of at most twice mostOut.
const mostRested = 32

// beginRest is called when the last request has ended. Large buffers are for many requests at
// once, which come again and again on a busy connection: they stay until rest drops them, or go
// at once where enough others keep theirs. c.mu is held.
func (c *conn) beginRest() {
	if c.state == dead || max(cap(c.out), cap(c.spare)) <= http2.FrameSize {
		return
	}
	if c.keeps = c.transport.rested.conns.Add(1) <= mostRested; !c.keeps {
		c.transport.rested.conns.Add(-1)
		c.dropBuffers()
	}
}

// endRest is called when a request comes, or the connection ends. c.mu is held.
func (c *conn) endRest() {
	if c.keeps {
		c.keeps = false
		c.transport.rested.conns.Add(-1)
	}
}

// rest drops large buffers that have not been used for a while. c.mu is held.
func (c *conn) rest(now time.Time) {
	if c.keeps && now.Sub(c.idleSince) >= restAfter {
		c.endRest()
		c.dropBuffers()
	}
}

// dropBuffers drops the buffers of the output but what waits to be written. c.mu is held.
func (c *conn) dropBuffers() {
	if c.spare = nil; len(c.out) == 0 {
		c.out = nil
	}
}

// flushEnds records that this goroutine has finished to flush.
func (c *conn) flushEnds() {
	c.flushing = false
	if c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
	}
}

// add sets the output to b, to which bytes were appended. c.mu is held.
func (c *conn) add(b []byte) {
	c.appended += uint64(len(b) - len(c.out))
	c.out = b
}

// answer is add for frames that answer the instance's frames. Their size is limited
// (mostAnswers), because an instance may ask again and again and never read.
func (c *conn) answer(b []byte) {
	c.answers += len(b) - len(c.out)
	c.add(b)
}
