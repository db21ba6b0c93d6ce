package http2

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

// endTask counts a goroutine out.
func (c *conn) endTask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks--; c.tasks == 0 {
		c.ended.Broadcast()
	}
}
