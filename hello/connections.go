package hello

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// connections are the open connections, including WebSockets: fasthttp forgets a
// connection that is upgraded, and leaves others open when it has waited long enough.
type connections struct {
	mu      sync.Mutex
	open    map[net.Conn]fasthttp.ConnState
	serving sync.WaitGroup // counts the connections in open
}

// observe is fasthttp's hook for changes of a connection's state.
func (cs *connections) observe(c net.Conn, state fasthttp.ConnState) {
	if state == fasthttp.StateClosed {
		cs.remove(c)
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, known := cs.open[c]; !known {
		if state != fasthttp.StateNew {
			return // a WebSocket that ended before its upgrade was reported
		}
		cs.serving.Add(1)
	}
	cs.open[c] = state
}

// remove forgets c, if it is still known.
func (cs *connections) remove(c net.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, known := cs.open[c]; known {
		delete(cs.open, c)
		cs.serving.Done()
	}
}

// endIdle makes idle connections end without losing a request. If it closed them, it
// could lose a request that was just read and is not known yet. A deadline makes only
// reads fail that still wait.
func (cs *connections) endIdle() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c, state := range cs.open {
		if state == fasthttp.StateIdle {
			c.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// wait returns when no connection is open any more. When ctx ends first, it closes
// those that are left, calls cut, and returns how many of them were in use. No
// connection may be accepted any more.
func (cs *connections) wait(ctx context.Context, cut func()) (left int) {
	ended := make(chan struct{})
	go func() { cs.serving.Wait(); close(ended) }()
	select {
	case <-ended:
		return 0
	case <-ctx.Done():
	}
	cs.mu.Lock()
	for c, state := range cs.open {
		if state != fasthttp.StateNew && state != fasthttp.StateIdle {
			left++
		}
		c.Close()
	}
	cs.mu.Unlock()
	cut() // only now, so that no answer that is cut looks complete
	<-ended
	return left
}
