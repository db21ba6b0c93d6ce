package faulty

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve has server serve on l, which it closes, behind the network until ctx ends, and
// returns once every request has ended. Its error is nil when ctx ended it.
func (n *Network) Serve(ctx context.Context, l net.Listener, server *http.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	server.ReadHeaderTimeout = 30 * time.Second
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		l.Close()
		n.Disconnect()
		// Handlers end with ctx; this waits for them, which Close would not.
		server.Shutdown(context.Background())
	}()
	err := server.Serve(n.Listen(l))
	asked := ctx.Err() != nil
	cancel()
	<-stopped
	if asked || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Counter counts requests by their kind.
type Counter struct {
	mu       sync.Mutex
	requests map[string]int
}

// Add counts a request that begins.
func (c *Counter) Add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[string]int{}
	}
	c.requests[kind]++
}

// Counts returns the counts so far.
func (c *Counter) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests)
}
