package http1_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"serai/front"
	"serai/internal/memory"
	"serai/proxy"
)

// panicking accepts connections whose n-th Read panics.
type panicking struct {
	net.Listener
	at int
}

type panickingConn struct {
	net.Conn
	left *int
}

func (l panicking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	left := l.at
	return &panickingConn{c, &left}, err
}

func (c *panickingConn) Read(p []byte) (int, error) {
	if *c.left--; *c.left < 0 {
		panic("planted in a read")
	}
	return c.Conn.Read(p)
}

// TestPanicOfTheEngine: a panic while a connection is served ends that one, is
// counted and logged, and leaves nothing behind.
func TestPanicOfTheEngine(t *testing.T) {
	for name, s := range map[string]settings{
		"at the first byte": {wrap: func(l net.Listener) net.Listener { return panicking{l, 0} }},
		"in a head":         {wrap: func(l net.Listener) net.Listener { return panicking{l, 1} }},
		"behind a part":     {wrap: func(l net.Listener) net.Listener { return panicking{l, 2} }},
		"in a handshake":    {wrap: overTLS(t), front: front.Options{OnHandshake: func(*tls.ConnectionState, error) { panic("planted in a handshake") }}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var log bytes.Buffer
			s.proxy = proxy.Options{Logger: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))}
			b := memory.NewBudget(1 << 20)
			s.front.Clients = front.NewClients(b, 0)
			k := newStack(t, s)
			for range 3 {
				c := k.dial()
				if name == "in a handshake" {
					tlsClient(c.Conn).(*tls.Conn).Handshake()
				} else {
					c.write("GET")
				}
				c.ended()
			}
			until(t, "the end of all connections", func() bool { return k.server.Status().Conns == 0 })
			until(t, "three counted panics", func() bool { return k.proxy.Reasons()[proxy.ReasonPanic.Code()] == 3 })
			until(t, "all memory back", func() bool { return taken(b) == 0 })
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(log.String(), "planted in a") || !strings.Contains(log.String(), "panic_test.go") {
				t.Errorf("no stack in the log: %s", log.String())
			}
		})
	}
}

// locked is a writer that several goroutines may use.
type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
