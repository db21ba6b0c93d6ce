package http1_test

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"serai/upstream"
)

// TestSlowClientsAreNotTheInstancesFault: an instance that gives a client up, which sends or
// takes too slowly, is not to blame as one is that fails by itself.
func TestSlowClientsAreNotTheInstancesFault(t *testing.T) {
	const pause = 1200 * time.Millisecond
	upload := func(t *testing.T, k *stack, o *origin, pause time.Duration) {
		c := k.dial()
		c.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "4", "some")
		p := o.next()
		p.head()
		p.read("4\r\nsome\r\n")
		time.Sleep(pause)
		p.Close()
		c.status("POST", 502, "upstream-closed")
	}
	for name, c := range map[string]struct {
		play   func(t *testing.T, k *stack, o *origin)
		blamed bool
	}{
		"closes at once":   {func(t *testing.T, k *stack, o *origin) { upload(t, k, o, 0) }, true},
		"waits for a body": {func(t *testing.T, k *stack, o *origin) { upload(t, k, o, pause) }, false},
		"has the whole body": {func(t *testing.T, k *stack, o *origin) {
			c := k.dial()
			c.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "4", "some")
			p := o.next()
			p.head()
			p.read("4\r\nsome\r\n")
			time.Sleep(pause)
			c.send("0", "")
			p.read("0\r\n\r\n")
			p.Close()
			c.status("POST", 502, "upstream-closed")
		}, true},
		"cuts its answer off": {func(t *testing.T, k *stack, o *origin) {
			c := k.dial()
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			p := o.next()
			p.head()
			p.send("HTTP/1.1 200 OK", "Content-Length: 10", "", "some")
			p.Close()
			io.Copy(io.Discard, c.r)
		}, true},
		"is silent, and cuts its answer off": {func(t *testing.T, k *stack, o *origin) {
			c := k.dial()
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			p := o.next()
			p.head()
			p.send("HTTP/1.1 200 OK", "Content-Length: 10", "", "some")
			time.Sleep(pause)
			p.Close()
			io.Copy(io.Discard, c.r)
		}, true},
		"waits for a reader": {func(t *testing.T, k *stack, o *origin) {
			const size = 256 << 20 // more than sockets hold
			c := k.dial()
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			p := o.next()
			p.head()
			var answering sync.WaitGroup
			answering.Go(func() {
				fmt.Fprintf(p.Conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
				p.SetWriteDeadline(time.Now().Add(pause))
				io.CopyN(p.Conn, zeros{}, size)
				p.Close()
			})
			answering.Wait()
			io.Copy(io.Discard, c.r)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, o := web(t, settings{registry: upstream.RegistryOptions{EjectAfter: 1}})
			c.play(t, k, o)
			until(t, "the end of the request", func() bool { return k.proxy.Inflight() == 0 })
			// The only instance is never ejected, but it is counted that it would have been.
			if blamed := k.registry.Ejections().Suppressed > 0; blamed != c.blamed {
				t.Errorf("the instance was blamed: %v, want %v", blamed, c.blamed)
			}
		})
	}
}

// TestSilentStreams: an answer that brings nothing for body-idle is told as silent, not as
// one that the instance has ended. If it has no length, it may be a stream of events that
// have not happened, and the instance is not to blame.
func TestSilentStreams(t *testing.T) {
	for name, c := range map[string]struct {
		head   []string
		blamed bool
	}{
		"events":            {[]string{"HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", "", "4", "some"}, false},
		"until the end":     {[]string{"HTTP/1.1 200 OK", "", "some"}, false},
		"of a known length": {[]string{"HTTP/1.1 200 OK", "Content-Length: 10", "", "some"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, o := web(t, settings{registry: upstream.RegistryOptions{EjectAfter: 1}}, "ingress.body-idle=200ms")
			client := k.dial()
			client.send("GET / HTTP/1.1", "Host: web.example.org", "")
			p := o.next()
			p.head()
			p.send(c.head...)
			io.Copy(io.Discard, client.r)
			until(t, "the end of the request", func() bool { return k.proxy.Inflight() == 0 })
			if got := k.proxy.Reasons(); got["upstream-idle"] != 1 || got["upstream-cut"] != 0 {
				t.Errorf("the reasons are %v, want one upstream-idle", got)
			}
			if blamed := k.registry.Ejections().Suppressed > 0; blamed != c.blamed {
				t.Errorf("the instance was blamed: %v, want %v", blamed, c.blamed)
			}
		})
	}
}

// TestSwitchToAnotherProtocol: an instance that switches to a protocol that was not asked for
// is told as such (RFC 9110 section 7.8). It is to blame for that only where nothing was
// asked for: otherwise any client could have instances ejected that look at its key alone.
func TestSwitchToAnotherProtocol(t *testing.T) {
	for name, c := range map[string]struct {
		asks   []string
		blamed bool
	}{
		"nothing is asked for": {nil, true},
		"another":              {[]string{"Connection: Upgrade", "Upgrade: foo/2"}, false},
		"h2c alone":            {[]string{"Connection: Upgrade", "Upgrade: h2c"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, o := web(t, settings{registry: upstream.RegistryOptions{EjectAfter: 1}})
			client := k.dial()
			client.send(append(append([]string{"GET / HTTP/1.1", "Host: web.example.org"}, c.asks...), "")...)
			p := o.next()
			p.head()
			p.send("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "")
			client.status("GET", 502, "bad-answer")
			until(t, "the end of the request", func() bool { return k.proxy.Inflight() == 0 })
			if blamed := k.registry.Ejections().Suppressed > 0; blamed != c.blamed {
				t.Errorf("the instance was blamed: %v, want %v", blamed, c.blamed)
			}
		})
	}
}
