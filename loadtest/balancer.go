package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// balancer is what stands in front of the nodes, as a cloud's network load
// balancer does: it forwards connections to nodes whose ready path answers 200,
// and knows nothing of HTTP otherwise.
type balancer struct {
	nodes []*ingress
	ready []atomic.Bool
	turn  atomic.Uint64
}

// The balancer asks each node this often, and two refusals in a row end its
// being ready; balancerNotices is more than it takes for either change.
const (
	balancerAsks    = 100 * time.Millisecond
	balancerNotices = 500 * time.Millisecond
)

// startBalancer forwards connections until ctx ends, and returns where.
func startBalancer(ctx context.Context, nodes []*ingress) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	b := &balancer{nodes: nodes, ready: make([]atomic.Bool, len(nodes))}
	for i := range nodes {
		b.ready[i].Store(true)
		go b.check(ctx, i)
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

func (b *balancer) check(ctx context.Context, node int) {
	refused := 0
	for ctx.Err() == nil {
		client := newClient(b.nodes[node].address)
		if client.get(b.nodes[node].address, "/.serai/ready").status == 200 {
			refused = 0
		} else {
			refused++
		}
		client.http.CloseIdleConnections()
		b.ready[node].Store(refused < 2)
		select {
		case <-ctx.Done():
		case <-time.After(balancerAsks):
		}
	}
}

// forward joins c with the next ready node.
func (b *balancer) forward(c *net.TCPConn) {
	defer c.Close()
	for range b.nodes {
		i := int(b.turn.Add(1) % uint64(len(b.nodes)))
		if !b.ready[i].Load() {
			continue
		}
		to, err := net.DialTimeout("tcp", b.nodes[i].address, time.Second)
		if err != nil {
			continue
		}
		defer to.Close()
		var both sync.WaitGroup
		both.Go(func() { io.Copy(to, c); to.(*net.TCPConn).CloseWrite() })
		both.Go(func() { io.Copy(c, to); c.CloseWrite() })
		both.Wait()
		return
	}
}
