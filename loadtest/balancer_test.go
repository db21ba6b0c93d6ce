package main

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// TestBalancerSilence holds the balancer to what it does with connections that
// are there: a node that refuses keeps them, one that is silent does not.
func TestBalancerSilence(t *testing.T) {
	for _, c := range []struct {
		name string
		node func(net.Conn)
		kept bool
	}{
		{"refuses", answers500, true},
		{"is silent", neverAnswers, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go serveFailing(ctx, l, c.node)
			node := &target{address: l.Addr().String(), conns: make(map[net.Conn]struct{})}
			node.ready.Store(true)
			to, done, err := node.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			go node.check(ctx)
			for end := time.Now().Add(time.Minute); node.ready.Load(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the node is ready for the balancer")
				}
			}
			if c.kept {
				if _, err := io.WriteString(to, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Errorf("the connection is closed: %v", err)
				}
				return
			}
			to.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := to.Read(make([]byte, 1)); err == nil {
				t.Error("a silent node has answered")
			} else if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Error("the connection is still there")
			}
		})
	}
}
