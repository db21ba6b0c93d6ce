package http2

import "time"

// A panic in code that the requests of a connection share is a bug that must not stop the
// node: the connection ends with its requests, and releases what it held. A panic in the
// goroutine of a request is contained by the request's owner.

// contain is deferred by the goroutines of a connection. c.mu is not held.
func (c *conn) contain() {
	report := c.transport.options.Panicked
	if report == nil {
		return
	}
	if cause := recover(); cause != nil {
		report(cause, c.transport.endpoint.Target().Address)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fail(errPanicked)
	}
}

// unlocked writes to the connection with f while c.mu, which is held, is released. If f
// panics, flushing ends here, because nobody else would end it.
func (c *conn) unlocked(f func([]byte) (int, error), b []byte) (n int, err error) {
	over := false
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if !over {
			c.fail(errPanicked)
			c.flushEnds()
		}
	}()
	if !c.Plain() { // on a plain socket, no request waits until it is written
		c.WriteWithin(time.Now(), c.writeIdle)
	}
	n, err = f(b)
	over = true
	return n, err
}
