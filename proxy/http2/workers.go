package http2

// start has a goroutine serve the stream. c.mu is held.
func (c *conn) start(s *stream) {
	select {
	case c.jobs <- s:
	default:
		c.tasks++
		go c.work(s)
	}
}

// maxIdle bounds the idle goroutines of a connection.
const maxIdle = 16

// work serves one stream after another.
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

// endWorkers ends the idle goroutines, whose stacks are useful only for bursts. c.mu is
// held.
func (c *conn) endWorkers() {
	for range c.idle {
		select {
		case c.jobs <- nil:
		default:
			return
		}
	}
}

// endTask records the end of a goroutine.
func (c *conn) endTask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks--; c.tasks == 0 {
		c.noTasks.Broadcast()
	}
}
