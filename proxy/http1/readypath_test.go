package http1_test

import (
	"sync/atomic"
	"testing"

	"serai/proxy"
)

// TestReadyPathIsNobodys: a service that takes any host does not answer a load
// balancer in serai's place, however the balancer spells the address, or when it
// names no host; nor in a drain. A host of a service's own is its own.
func TestReadyPathIsNobodys(t *testing.T) {
	var ready atomic.Bool
	k := newStack(t, settings{proxy: proxy.Options{ReadyPath: "/.serai/ready", Ready: ready.Load}})
	o := newOrigin(t)
	go o.serve("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntenant")
	k.service("any", []string{o.address}, "ingress.host=*", "ingress.own.host=own.test")
	k.awaitReady()
	for _, head := range []string{
		"HTTP/1.0\r\n", "HTTP/1.1\r\nHost: 10.0.0.1\r\n", "HTTP/1.1\r\nHost: 10.0.0.1:\r\n", "HTTP/1.1\r\nHost: 10.0.0.1.\r\n", "HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n",
		"HTTP/1.1\r\nHost: [::1]\r\n", "HTTP/1.1\r\nHost: balancer.test\r\n", "HTTP/1.1\r\nHost: BALANCER.test.\r\n",
	} {
		ready.Store(false)
		c := k.dial()
		c.write("GET /.serai/ready " + head + "\r\n")
		c.status("GET", 503, "not-ready")
		ready.Store(true)
		c = k.dial()
		c.write("GET /.serai/ready " + head + "\r\n")
		if body := c.status("GET", 200, ""); body != "ready\n" {
			t.Errorf("%q is answered %q", head, body)
		}
	}
	c := k.dial()
	c.send("GET /.serai/ready HTTP/1.1", "Host: own.test", "")
	if body := c.status("GET", 200, ""); body != "tenant" {
		t.Errorf("a host of its own is answered %q", body)
	}
	c = k.dial()
	c.send("GET /other HTTP/1.1", "Host: balancer.test", "")
	if body := c.status("GET", 200, ""); body != "tenant" {
		t.Errorf("another path is answered %q", body)
	}
}
