package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// crowd bounds the connections of a listener that takes no requests of clients. Where there
// are too many, the one that has been without a request for longest ends, and when all have one, the one that has
// not read of its answer for longest: so nobody keeps others out with connections that say nothing,
// or that begin a request and never end it, or whose answers they do not read.
type crowd struct {
	net.Listener
	most      int
	writeIdle time.Duration
	ended     *atomic.Uint64 // counts those that were ended

	mu   sync.Mutex
	room *sync.Cond // of mu: a connection has gone
	open map[*aside]struct{}
	over bool
}

// aside is one of its connections.
type aside struct {
	net.Conn
	crowd *crowd
	// serving says that a request is being answered, since when there was none, or writing when its client was
	// to read last; zero when it has. Guarded by crowd.mu.
	serving        bool
	since, writing time.Time
}

// readWithin is how long a client may read nothing of its answer, when others need the connection.
const readWithin = time.Second

func newCrowd(l net.Listener, most int, writeIdle time.Duration, ended *atomic.Uint64) *crowd {
	c := &crowd{Listener: l, most: most, writeIdle: writeIdle, ended: ended, open: make(map[*aside]struct{})}
	c.room = sync.NewCond(&c.mu)
	return c
}

// Accept waits for a connection, and then until there is room for it.
func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) >= c.most && !c.over {
		oldest, next := c.oldest(time.Now())
		if oldest != nil {
			delete(c.open, oldest)
			c.ended.Add(1)
			oldest.Conn.Close()
			continue
		}
		again := time.AfterFunc(next, c.room.Signal)
		c.room.Wait()
		again.Stop()
	}
	if c.over {
		conn.Close()
		return nil, net.ErrClosed
	}
	a := &aside{Conn: conn, crowd: c, since: time.Now()}
	c.open[a] = struct{}{}
	return a, nil
}

// oldest is the connection that is to make room, nil for none yet: then it may be another one after a time.
func (c *crowd) oldest(now time.Time) (oldest *aside, next time.Duration) {
	var unread *aside
	for a := range c.open {
		switch {
		case !a.serving && (oldest == nil || a.since.Before(oldest.since)):
			oldest = a
		case a.serving && !a.writing.IsZero() && (unread == nil || a.writing.Before(unread.writing)):
			unread = a
		}
	}
	if oldest != nil || unread == nil {
		return oldest, readWithin
	}
	if next = readWithin - now.Sub(unread.writing); next > 0 {
		return nil, next
	}
	return unread, 0
}

// Close ends the listener.
func (c *crowd) Close() error {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.room.Broadcast()
	return c.Listener.Close()
}

// Close ends the connection.
func (a *aside) Close() error {
	a.crowd.mu.Lock()
	delete(a.crowd.open, a)
	a.crowd.mu.Unlock()
	a.crowd.room.Signal()
	return a.Conn.Close()
}

// asideWrite is how much a reader must take at once, within --write-idle.
const asideWrite = 64 << 10

// Write writes in parts, each of which the reader must take in time.
func (a *aside) Write(p []byte) (n int, err error) {
	defer a.waits(time.Time{})
	for first := true; first || n < len(p) && err == nil; first = false {
		now := time.Now()
		a.waits(now)
		if err = a.SetWriteDeadline(now.Add(a.crowd.writeIdle)); err != nil {
			return n, err
		}
		var wrote int
		wrote, err = a.Conn.Write(p[n:min(n+asideWrite, len(p))])
		n += wrote
	}
	return n, err
}

// waits notes since when the client is waited for.
func (a *aside) waits(since time.Time) {
	a.crowd.mu.Lock()
	a.writing = since
	a.crowd.mu.Unlock()
}

// has notes that a request is being answered, or that it has been.
func (a *aside) has(request bool) {
	a.crowd.mu.Lock()
	a.serving, a.since = request, time.Now()
	a.crowd.mu.Unlock()
	a.crowd.room.Signal()
}

// asideKey is where a request's context has its connection.
type asideKey struct{}

// keepAside is an http.Server's ConnContext, for counted.
func keepAside(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, asideKey{}, c)
}

// counted notes on their connection that requests are being answered.
func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := r.Context().Value(asideKey{}).(*aside); ok {
			a.has(true)
			defer a.has(false)
		}
		next.ServeHTTP(w, r)
	})
}
