package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// balancer stands in front of the nodes like a cloud's network load balancer: it
// forwards connections to nodes whose ready path answers 200, and does not understand
// HTTP otherwise.
type balancer struct {
	nodes []*target
	turn  atomic.Uint64
}

// target is a node, for the balancer.
type target struct {
	address string
	ready   atomic.Bool
	mu      sync.Mutex
	conns   map[net.Conn]struct{} // those that are forwarded there
}

// The balancer asks each node this often, and two refusals in a row end its
// being ready; balancerNotices is more than it takes for either change, and
// balancerWaits how long it waits for an answer or a connection.
const (
	balancerAsks    = 100 * time.Millisecond
	balancerNotices = 500 * time.Millisecond
	balancerWaits   = time.Second
)

// startBalancer forwards connections until ctx ends, and returns where.
func startBalancer(ctx context.Context, nodes []*ingress) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	b := &balancer{}
	for _, n := range nodes {
		t := &target{address: n.address, conns: make(map[net.Conn]struct{})}
		t.ready.Store(true)
		b.nodes = append(b.nodes, t)
		go t.check(ctx)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.forward(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String(), nil
}

// check checks a node until ctx ends. A node that refuses keeps its connections, since
// it may be draining. The connections to a node that does not answer are closed.
func (t *target) check(ctx context.Context) {
	refused, silent := 0, 0
	for ctx.Err() == nil {
		status, err := t.ask()
		refused++
		silent++
		if err == nil && status == 200 {
			refused = 0
		}
		if !isSilence(err) {
			silent = 0
		}
		t.ready.Store(refused < 2)
		if silent >= 2 {
			t.closeAll()
		}
		select {
		case <-ctx.Done():
		case <-time.After(balancerAsks):
		}
	}
}

// ask returns the status of the ready path.
func (t *target) ask() (status int, err error) {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI("http://" + t.address + "/.serai/ready")
	q.SetConnectionClose()
	client := fasthttp.HostClient{
		Addr: t.address, MaxIdemponentCallAttempts: 1, ReadTimeout: balancerWaits, WriteTimeout: balancerWaits,
		Dial: func(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, balancerWaits) },
	}
	err = client.Do(q, a)
	return a.StatusCode(), err
}

// isSilence reports whether the node does not answer at all, not even with a refusal.
func isSilence(err error) bool {
	var e interface{ Timeout() bool } // fasthttp's are no net.Error
	return errors.Is(err, syscall.EHOSTUNREACH) || errors.As(err, &e) && e.Timeout()
}

func (t *target) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		c.Close()
	}
}

// dial connects to the node; done removes the connection from the list.
func (t *target) dial() (c *net.TCPConn, done func(), err error) {
	to, err := net.DialTimeout("tcp", t.address, balancerWaits)
	if err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[to] = struct{}{}
	return to.(*net.TCPConn), func() {
		to.Close()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, to)
	}, nil
}

// forward joins c with the next ready node.
func (b *balancer) forward(c *net.TCPConn) {
	defer c.Close()
	for range b.nodes {
		t := b.nodes[b.turn.Add(1)%uint64(len(b.nodes))]
		if !t.ready.Load() {
			continue
		}
		to, done, err := t.dial()
		if err != nil {
			continue
		}
		defer done()
		var both sync.WaitGroup
		both.Go(func() { io.Copy(to, c); to.CloseWrite() })
		both.Go(func() { io.Copy(c, to); c.CloseWrite() })
		both.Wait()
		return
	}
}
