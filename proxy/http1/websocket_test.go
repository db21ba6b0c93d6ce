package http1_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"serai/proxy"
)

// openTunnel returns both ends of a tunnel that has carried bytes.
func openTunnel(k *stack, o *origin) (client, instance *peer) {
	k.t.Helper()
	c := k.dial()
	c.send("GET /tunnel HTTP/1.1", "Host: web.example.org", "Connection: Upgrade", "Upgrade: echo", "")
	p := o.next()
	p.head()
	p.send("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: echo", "")
	c.head()
	c.write("in")
	p.read("in")
	return c, p
}

// TestTunnelIsLoggedAsItself: while a tunnel is open the memory of its
// request's head is not handed to others.
func TestTunnelIsLoggedAsItself(t *testing.T) {
	var mu sync.Mutex
	var logged []string
	k, o := web(t, settings{proxy: proxy.Options{Log: func(x *proxy.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		if x.Upgraded {
			logged = append(logged, string(x.Head.Method)+" "+string(x.Head.Host)+" "+string(x.Head.Target))
		}
	}}})
	c, p := openTunnel(k, o)
	for range 20 {
		other := k.dial()
		other.send("POST /"+strings.Repeat("secret", 20)+" HTTP/1.1", "Host: other.example.org", "Content-Length: 0", "")
		other.status("POST", 404, "no-host")
		other.Close()
	}
	p.Close()
	c.ended()
	c.Close()
	until(t, "the line", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(logged) == 1
	})
	if want := "GET web.example.org /tunnel"; logged[0] != want {
		t.Errorf("logged %.80q, want %q", logged[0], want)
	}
}

// TestTunnelEndsWithEitherEnd: a reset of one end ends the other, which is
// silent, and the exchange.
func TestTunnelEndsWithEitherEnd(t *testing.T) {
	for name, reset := range map[string]func(client, instance *peer){
		"instance": func(_, instance *peer) { instance.reset() },
		"client":   func(client, _ *peer) { client.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{})
			c, p := openTunnel(k, o)
			reset(c, p)
			if name == "instance" {
				c.ended()
			} else {
				p.ended()
			}
			until(t, "the end of the exchange", func() bool { return k.proxy.Inflight() == 0 })
		})
	}
}

// reset closes the connection as a crash does.
func (p *peer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}
