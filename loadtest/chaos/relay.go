package chaos

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// relay forwards connections to an instance, and can stop forwarding in one or both
// directions without closing them.
type relay struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	there    chan struct{} // closed while the way to the instance is open
	back     chan struct{}
	conns    map[*net.TCPConn]bool
	closed   bool
	running  sync.WaitGroup
}

func startRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, to: to, there: make(chan struct{}), back: make(chan struct{}), conns: make(map[*net.TCPConn]bool)}
	close(r.there)
	close(r.back)
	r.running.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		here := c.(*net.TCPConn)
		r.running.Go(func() { r.carry(here) })
	}
}

func (r *relay) carry(here *net.TCPConn) {
	defer here.Close()
	c, err := net.DialTimeout("tcp", r.to, time.Second)
	if err != nil {
		// As if the instance had refused.
		here.SetLinger(0)
		return
	}
	far := c.(*net.TCPConn)
	defer far.Close()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.conns[here], r.conns[far] = true, true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, here)
		delete(r.conns, far)
	}()
	var both sync.WaitGroup
	both.Go(func() { r.copy(far, here, func() chan struct{} { return r.there }) })
	both.Go(func() { r.copy(here, far, func() chan struct{} { return r.back }) })
	both.Wait()
}

// copy carries one way, and its end as it was: a FIN or a reset.
func (r *relay) copy(to, from *net.TCPConn, gate func() chan struct{}) {
	for p := make([]byte, 32<<10); ; {
		n, err := from.Read(p)
		r.mu.Lock()
		open := gate()
		r.mu.Unlock()
		<-open
		if n > 0 {
			if _, err := to.Write(p[:n]); err != nil {
				// Whoever still sends is to hear of it.
				from.SetLinger(0)
				from.Close()
				return
			}
		}
		switch {
		case err == io.EOF:
			to.CloseWrite()
			return
		case err != nil:
			if errors.Is(err, syscall.ECONNRESET) {
				to.SetLinger(0)
			}
			to.Close()
			return
		}
	}
}

// cut stops one direction or both until again is called.
func (r *relay) cut(there, back bool) (again func()) {
	open := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	if there {
		r.there = open
	}
	if back {
		r.back = open
	}
	return sync.OnceFunc(func() { close(open) })
}

// close ends all connections. What was cut must have been opened again.
func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}
