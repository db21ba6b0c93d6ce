package http1_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/proxy/http1"
)

// narrow runs a service of one instance with so many places.
func narrow(t *testing.T, s settings, places int) (*stack, *origin) {
	t.Helper()
	k, o := newStack(t, s), newOrigin(t)
	k.service("web", []string{o.address}, "ingress.host=web.example.org", fmt.Sprintf("ingress.max-inflight=%d", places), "ingress.wait=2m")
	k.awaitReady()
	return k, o
}

// trickle sends a byte now and then until the connection ends or done is closed.
func (p *peer) trickle(pause time.Duration, piece string, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		if _, err := io.WriteString(p.Conn, piece); err != nil {
			return
		}
	}
}

// TestSlowSmallBodiesHoldNoPlace has as many clients that send a byte now and then
// as the service has places.
func TestSlowSmallBodiesHoldNoPlace(t *testing.T) {
	const places = 4
	k, o := narrow(t, settings{}, places)
	done := make(chan struct{})
	var slow sync.WaitGroup
	defer slow.Wait()
	defer close(done)
	for range places {
		c := k.dial()
		c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 60000", "", "x")
		slow.Go(func() { c.trickle(50*time.Millisecond, "x", done) })
	}
	// Until each of them would have its place.
	time.Sleep(300 * time.Millisecond)
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	if h := p.head(); !strings.HasPrefix(h, "GET ") {
		t.Fatalf("the instance got %q", h)
	}
	p.ok("x")
	c.status("GET", 200, "")
}

// TestSlowBodiesAreEnded: whose bytes come more slowly than the least rate gets
// 408, whether its body is small or large, and it is counted.
func TestSlowBodiesAreEnded(t *testing.T) {
	for name, length := range map[string]string{"small": "1000", "large": "1000000"} {
		t.Run(name, func(t *testing.T) {
			k, _ := web(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1000}})
			c := k.dial()
			c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: "+length, "", "x")
			done := make(chan struct{})
			var slow sync.WaitGroup
			slow.Go(func() { c.trickle(20*time.Millisecond, "x", done) })
			c.status("POST", 408, "body-slow")
			close(done)
			slow.Wait()
			until(t, "its count", func() bool { return k.proxy.Reasons()["body-slow"] == 1 })
		})
	}
}

// TestSlowRestsAreEnded: what is left of a body behind a whole answer is read for the sake
// of the connection, but not for ever.
func TestSlowRestsAreEnded(t *testing.T) {
	k, _ := web(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1000}})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: nobody.example.org", "Content-Length: 200000", "", "x")
	if res, _ := c.answer("POST"); res.StatusCode != 404 || res.Close {
		t.Fatalf("answered %s, close %v", res.Status, res.Close)
	}
	done := make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() { c.trickle(20*time.Millisecond, "x", done) })
	c.ended()
	close(done)
	slow.Wait()
}

// TestSlowChunksMakeRoom: a stream that says little is left alone until its place
// is wanted.
func TestSlowChunksMakeRoom(t *testing.T) {
	k, o := narrow(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1000}}, 1)
	slow := k.dial()
	slow.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "1", "x")
	p := o.next()
	p.head()
	p.read("1\r\nx\r\n")
	for range 30 { // for longer than BodyIdle
		time.Sleep(100 * time.Millisecond)
		slow.send("1", "x")
		p.read("1\r\nx\r\n")
	}
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { slow.trickle(100*time.Millisecond, "1\r\nx\r\n", done) })
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	slow.status("POST", 408, "body-slow")
	close(done)
	sending.Wait()
	p = o.next()
	p.head()
	p.ok("x")
	c.status("GET", 200, "")
}

// TestWhoWaitsForAnInstanceWantsNoPlace: a stream that says little is left alone where
// others wait because its instance takes no new requests. Its place would be of no use to
// them.
func TestWhoWaitsForAnInstanceWantsNoPlace(t *testing.T) {
	k, o := narrow(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1000}}, 4)
	slow := k.dial()
	slow.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "1", "x")
	p := o.next()
	p.head()
	p.read("1\r\nx\r\n")
	o.port.Close()
	ask := func() { k.dial().send("GET / HTTP/1.1", "Host: web.example.org", "") }
	ask() // it may get the connection that was opened to see whether the instance is there
	until(t, "the first of two requests", func() bool {
		return k.registry.All()[0].Inflight() == 2 || k.registry.Waiting().Requests == 1
	})
	ask()
	until(t, "a request that waits", func() bool { return k.registry.Waiting().Requests > 0 })
	for range 30 { // for longer than BodyIdle
		time.Sleep(100 * time.Millisecond)
		slow.send("1", "x")
		p.read("1\r\nx\r\n")
	}
	slow.send("0", "")
	p.read("0\r\n\r\n")
	p.ok("x")
	slow.status("POST", 200, "")
}

// TestAnsweredBodiesMayPause: once the instance answers, the two talk, also where
// others wait for the place.
func TestAnsweredBodiesMayPause(t *testing.T) {
	for name, framing := range map[string]string{"chunked": "Transfer-Encoding: chunked", "known length": "Content-Length: 1000000"} {
		t.Run(name, func(t *testing.T) {
			k, o := narrow(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1000}}, 1)
			c := k.dial()
			piece := "1\r\nx\r\n"
			if name != "chunked" {
				piece = "x"
			}
			c.send("POST / HTTP/1.1", "Host: web.example.org", framing, "")
			c.write(piece)
			p := o.next()
			p.head()
			p.read(piece)
			p.send("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "hi")
			if h := c.head(); !strings.HasPrefix(h, "HTTP/1.1 200 ") {
				t.Fatalf("the client saw %q", h)
			}
			c.read("2\r\nhi\r\n")
			other := k.dial()
			other.send("GET / HTTP/1.1", "Host: web.example.org", "")
			until(t, "a request that waits", func() bool { return k.registry.Waiting().Requests > 0 })
			for range 40 {
				time.Sleep(100 * time.Millisecond)
				c.write(piece)
				p.read(piece)
			}
			p.send("3", "you", "0", "")
			c.read("3\r\nyou\r\n0\r\n\r\n")
			p = o.next()
			p.head()
			p.ok("x")
			other.status("GET", 200, "")
		})
	}
}

// TestPauseOfTheInstanceIsNotTheClients: an upload whose instance takes nothing for
// longer than a client may pause is not ended.
func TestPauseOfTheInstanceIsNotTheClients(t *testing.T) {
	k, o := web(t, settings{server: http1.Options{BodyIdle: 2 * time.Second, MinRate: 1 << 20}})
	const size = 64 << 20 // more than sockets hold
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", fmt.Sprintf("Content-Length: %d", size), "")
	var sending sync.WaitGroup
	sending.Go(func() { io.CopyN(c.Conn, zeros{}, size) })
	p := o.next()
	p.head()
	time.Sleep(3 * time.Second)
	if _, err := io.CopyN(io.Discard, p.r, size); err != nil {
		t.Fatalf("read the body: %v", err)
	}
	p.ok("x")
	c.status("POST", 200, "")
	sending.Wait()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestSlowReadersLoseTheirPlace: a client that takes a byte now and then of a large
// answer does not take a buffer of it within WriteIdle.
func TestSlowReadersLoseTheirPlace(t *testing.T) {
	k, o := narrow(t, settings{server: http1.Options{WriteIdle: time.Second}}, 1)
	slow := k.dial()
	slow.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	const size = 256 << 20
	var answering sync.WaitGroup
	answering.Go(func() {
		fmt.Fprintf(p.Conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		io.CopyN(p.Conn, zeros{}, size)
	})
	done := make(chan struct{})
	answering.Go(func() {
		for one := make([]byte, 1); ; {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := slow.Conn.Read(one); err != nil {
					return
				}
			}
		}
	})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	next := o.next()
	next.head()
	next.ok("x")
	if res, _ := c.answer("GET"); res.StatusCode != http.StatusOK {
		t.Errorf("answer %s", res.Status)
	}
	close(done)
	slow.Close()
	answering.Wait()
}
