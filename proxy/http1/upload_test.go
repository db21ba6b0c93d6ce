package http1_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"serai/proxy"
)

// TestInstanceFailsDuringAnUpload: the client is told, although it is still
// sending.
func TestInstanceFailsDuringAnUpload(t *testing.T) {
	for name, fail := range map[string]struct {
		do     func(*peer)
		reason string
	}{
		"closed":     {func(p *peer) { p.Close() }, "upstream-closed"},
		"bad answer": {func(p *peer) { p.write("HTTP/1.1 200 OK\nContent-Length: 0\n\n") }, "bad-answer"},
		"switched":   {func(p *peer) { p.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") }, "bad-answer"},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{})
			c := k.dial()
			c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 70000", "", "some")
			p := o.next()
			p.head()
			p.read("some\r\n")
			fail.do(p)
			c.status("POST", 502, fail.reason)
			// What is left of the body is known and small: the connection goes on.
			c.write(strings.Repeat("x", 70000-6))
			c.send("GET / HTTP/1.1", "Host: nobody.example.org", "")
			c.status("GET", 404, "no-host")
		})
	}
}

// TestSmallBodyIsGathered: a body that fits a buffer and comes in several
// pieces, one soon after the other, is sent as a whole, over a connection that
// is there; and to another instance when one fails before it read any of it.
func TestSmallBodyIsGathered(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	p.ok("x")
	c.status("GET", 200, "")

	body := strings.Repeat("0123456789abcdef", 4<<10) // 64 KiB
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 65536", "", body[:10])
	c.write(body[12:20000])
	c.write(body[20000:])
	p.head() // on the same connection
	p.read(body[:10] + "\r\n" + body[12:])
	p.ok("y")
	c.status("POST", 200, "")

	p.Close()
	c.send("PUT / HTTP/1.1", "Host: web.example.org", "Content-Length: 20000", "", body[:20000-2])
	p = o.next()
	p.head()
	p.read(body[:20000-2])
	p.Close()
	p = o.next()
	p.head()
	p.read(body[:20000-2] + "\r\n")
	p.ok("z")
	c.status("PUT", 200, "")
}

// TestSlowSmallBodyIsSentWhole however long it takes.
func TestSlowSmallBodyIsSentWhole(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 10", "", "slow")
	time.Sleep(200 * time.Millisecond)
	c.write("body")
	p := o.next()
	p.head()
	p.read("slow\r\nbody")
	p.ok("x")
	if c.status("POST", 200, "") != "x" {
		t.Error("another answer")
	}
}

// TestWaitForABodyIsNotTheInstances: the time in which a small body is waited
// for is no part of the time to the first byte, by which instances are judged.
func TestWaitForABodyIsNotTheInstances(t *testing.T) {
	firstByte := make(chan time.Duration, 1)
	k, o := web(t, settings{proxy: proxy.Options{Log: func(x *proxy.Exchange) { firstByte <- x.FirstByte }}})
	inTime(t, func() error {
		c := k.dial()
		begun := time.Now()
		c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 8", "", "so")
		time.Sleep(50 * time.Millisecond)
		rest := time.Now()
		c.write("body") // the request cannot have been sent before
		waited := time.Since(begun)
		p := o.next()
		p.head()
		p.read("so\r\nbody")
		p.send("HTTP/1.1 200 OK", "Content-Length: 1", "Connection: close", "", "x")
		c.status("POST", 200, "")
		first, whole := <-firstByte, time.Since(rest)
		switch {
		case first <= whole:
			return nil
		case waited < 80*time.Millisecond:
			return fmt.Errorf("the first byte took %v, all of it %v", first, whole)
		}
		return fmt.Errorf("the body was waited for in vain, for %v", waited)
	})
}

// TestWaitForAStreamIsNotTheInstances: neither is the time in which more of a body comes that
// is sent on as it comes. Otherwise one slow upload would keep requests away from its instance
// for a minute.
func TestWaitForAStreamIsNotTheInstances(t *testing.T) {
	latency := make(chan time.Duration, 1)
	k, o := web(t, settings{proxy: proxy.Options{Log: func(x *proxy.Exchange) { latency <- x.Member.Endpoint.Status().Latency }}})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "4", "some")
	p := o.next()
	p.head()
	p.read("4\r\nsome\r\n")
	time.Sleep(200 * time.Millisecond)
	rest := time.Now()
	c.send("0", "")
	p.read("0\r\n\r\n")
	p.send("HTTP/1.1 200 OK", "Content-Length: 1", "Connection: close", "", "x")
	c.status("POST", 200, "")
	if of, whole := <-latency, time.Since(rest); of == 0 || of > whole {
		t.Errorf("the instance is said to have taken %v, and had only %v", of, whole)
	}
}
