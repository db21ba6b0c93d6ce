package hello

import (
	"net"
	"sync"
	"time"
)

// preface is the start of every HTTP/2 connection, and of no HTTP/1 request (RFC 9113
// section 3.4). The rest of the preface is not needed to tell them apart.
const preface = "PRI * HTTP/2.0"

// entrance passes each connection to the server of the protocol with which it begins.
type entrance struct {
	http1, http2 queue

	mu      sync.Mutex
	silent  map[net.Conn]bool // connections that have sent nothing yet
	looking sync.WaitGroup
}

func newEntrance(address net.Addr) *entrance {
	return &entrance{http1: newQueue(address), http2: newQueue(address), silent: make(map[net.Conn]bool)}
}

// accept accepts connections from l until it is closed or fails.
func (e *entrance) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.silent[c] = true
		e.looking.Add(1)
		e.mu.Unlock()
		go e.look(c)
	}
}

// look reads the first bytes of c, and selects its server.
func (e *entrance) look(c net.Conn) {
	defer e.looking.Done()
	known := &begun{Conn: c}
	var err error
	for err == nil && len(known.head) < len(preface) && string(known.head) == preface[:len(known.head)] {
		b := make([]byte, len(preface)-len(known.head))
		var n int
		n, err = c.Read(b)
		known.head = append(known.head, b[:n]...)
	}
	e.mu.Lock()
	delete(e.silent, c)
	e.mu.Unlock()
	c.SetReadDeadline(time.Time{}) // a request may have come while e ended
	switch {
	case len(known.head) == 0:
		c.Close()
	case string(known.head) == preface:
		e.http2.conns <- known
	default:
		e.http1.conns <- known
	}
}

// end ends the connections that have sent nothing, and closes the queues after all
// others are in them. No connection may be accepted any more.
func (e *entrance) end() {
	e.mu.Lock()
	for c := range e.silent {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	e.mu.Unlock()
	e.looking.Wait()
	e.http1.Close()
	e.http2.Close()
}

// begun is a connection whose first bytes were read.
type begun struct {
	net.Conn
	head []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// queue is the listener of one server.
type queue struct {
	conns   chan net.Conn
	closed  chan struct{}
	close   *sync.Once
	address net.Addr
}

func newQueue(address net.Addr) queue {
	return queue{conns: make(chan net.Conn), closed: make(chan struct{}), close: new(sync.Once), address: address}
}

func (q queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q queue) Close() error {
	q.close.Do(func() { close(q.closed) })
	return nil
}

func (q queue) Addr() net.Addr { return q.address }
