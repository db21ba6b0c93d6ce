package front

import "sync/atomic"

// maxIdleWorkers bounds the goroutines that wait for a connection.
const maxIdleWorkers = 64

// workers are the goroutines that start connections. The stack of one that has started a connection has grown already; a
// new goroutine would have to grow its stack again.
type workers struct {
	next chan *Conn // for those that wait; nil ends one, and so does its end
	idle atomic.Int64
}

// give passes c to a worker that waits, and reports whether there is one.
func (w *workers) give(c *Conn) bool {
	select {
	case w.next <- c:
		return true
	default:
		return false
	}
}

// run starts c, and then one connection after another, until too many workers wait, or it is to end.
func (w *workers) run(c *Conn) {
	for c != nil {
		c.start(c.Socket.Conn)
		if w.idle.Add(1) > maxIdleWorkers {
			w.idle.Add(-1)
			return
		}
		c = <-w.next
		w.idle.Add(-1)
	}
}

// trim ends some of those that wait, because no connection has come for a while: their stacks are useful only for
// bursts.
func (w *workers) trim() {
	for range maxIdleWorkers / 8 {
		if !w.give(nil) {
			return
		}
	}
}
