package http2

import (
	"runtime"

	"serai/wire/http2"
)

// flushWithOthers is flush for who has begun a request: those that others are about to
// begin leave with it. C.mu is held, but not while they do.
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

// flush writes what there is to write, unless somebody is at it. It does not wait for an
// instance that reads slowly, but over TLS: who flushes has a request of its own, with a
// time of its own. C.mu is held, but not while it writes.
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

// flushSoon is flush by another goroutine, for who must not wait at all: the one that
// reads above all. An instance may read nothing before it has said what it has to say.
// c.mu is held.
func (c *conn) flushSoon() {
	if c.flushing || len(c.out) == 0 || c.state == dead {
		return
	}
	c.flushing = true
	go c.flushRest(nil)
}

// flushRest writes rest, which is no part of c.out any more, and then until nothing is
// left.
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

// closedByNow reports whether the instance has closed the connection before the requests
// that are about to leave. Who reads it may learn of that later: what has come before has
// to be read first. These requests go elsewhere, and nothing is written any more: whoever
// flushes never ends. c.mu is held, as for the next three.
func (c *conn) closedByNow() bool {
	if !c.begun || !c.HungUp() {
		return false
	}
	c.retire()
	for _, s := range c.streams {
		if s.start >= c.written {
			s.fail(errClosedBefore)
		}
	}
	return true
}

// takeOut returns what is to be written.
func (c *conn) takeOut() []byte {
	b := c.out
	c.answers, c.begun = 0, false
	c.out, c.spare = c.spare[:0], nil
	c.written += uint64(len(b))
	return b
}

// wrote notes that b was written, or could not be but for so many bytes at its end.
func (c *conn) wrote(b []byte, left int, err error) {
	if err != nil {
		c.written -= uint64(left)
	}
	if cap(b) <= http2.FrameSize || c.taken > 0 && cap(b) <= 2*mostOut {
		c.spare = b[:0]
	}
	if err != nil {
		c.fail(err)
	}
	c.tellUploads()
}

func (c *conn) flushEnds() {
	c.flushing = false
	if c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
	}
}

// add appends what append does to what is to be sent. c.mu is held.
func (c *conn) add(b []byte) {
	c.appended += uint64(len(b) - len(c.out))
	c.out = b
}

// answer is add for what the instance has us say: it may ask for ever more, and never
// read it (mostAnswers).
func (c *conn) answer(b []byte) {
	c.answers += len(b) - len(c.out)
	c.add(b)
}
