package http2

import "time"

// A panic in what the requests of a connection share is a fault of ours that must not
// take the node: the connection ends, with its requests, and gives back what it held. One
// in the goroutine of a request is contained by whose request it is.

// contain is deferred by the goroutines of a connection. c.mu is not held.
func (c *conn) contain() {
	told := c.transport.options.Panicked
	if told == nil {
		return
	}
	if cause := recover(); cause != nil {
		told(cause, c.transport.endpoint.Target().Address)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fail(errPanicked)
	}
}

// unlocked writes to the connection with f, without c.mu, which is held. Who panics
// meanwhile flushes no more: nobody would.
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
	if !c.Plain() { // else who has a request does not wait for it to be written
		c.WriteWithin(time.Now(), c.writeIdle)
	}
	n, err = f(b)
	over = true
	return n, err
}
