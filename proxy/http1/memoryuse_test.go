package http1_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/front"
	"serai/internal/memory"
	"serai/proxy/http1"
)

// TestLargeHeadsHaveABudget: heads that need a large buffer are refused when half
// of the memory is taken, and all is given back at the end.
func TestLargeHeadsHaveABudget(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	line := "X-Filler: " + strings.Repeat("a", 1000) + "\r\n"
	large := "GET / HTTP/1.1\r\nHost: web.example.org\r\n" + strings.Repeat(line, 20)
	var refused, answered atomic.Int64
	var reading sync.WaitGroup
	var held []*peer
	for range 12 {
		c := k.dial()
		held = append(held, c)
		if _, err := io.WriteString(c.Conn, large); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() {
			res, err := http.ReadResponse(c.r, nil)
			if err != nil {
				return // closed below
			}
			answered.Add(1)
			if res.StatusCode == 503 && res.Header.Get("X-Serai-Reason") == "overloaded" {
				refused.Add(1)
			}
		})
	}
	defer reading.Wait()
	most := int64(0)
	until(t, "a buffer and a refusal", func() bool {
		n, _ := b.Taken(memory.Buffers)
		most = max(most, n)
		return most > 0 && refused.Load() > 0
	})
	if most > 1<<19 || refused.Load() != answered.Load() {
		t.Errorf("%d bytes of buffers were taken; %d of %d answers are refusals", most, refused.Load(), answered.Load())
	}
	// A request of the usual size is answered beside them.
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	p.ok("x")
	c.status("GET", 200, "")
	c.Conn.Close()
	for _, c := range held {
		c.Conn.Close()
	}
	until(t, "all memory back", func() bool { return taken(b) == 0 })
}

// fill has many clients take of a part until so much is taken of all, so that nobody's
// share is large, and returns what gives it back.
func fill(t *testing.T, b *memory.Budget, p memory.Part, most int64) (empty func()) {
	t.Helper()
	clients := make([]memory.Client, 100)
	each := (most - taken(b)) / int64(len(clients))
	for i := range clients {
		clients[i].Join(b)
		if !clients[i].Take(p, each) {
			t.Fatalf("there is no memory to take for client %d", i)
		}
	}
	b.Settle()
	return func() {
		for i := range clients {
			clients[i].Give(p, each)
			clients[i].Leave()
		}
		b.Settle()
	}
}

func taken(b *memory.Budget) (sum int64) {
	for _, p := range memory.Parts() {
		n, _ := b.Taken(p)
		sum += n
	}
	return sum
}

// TestSlowClientsEndWhenMemoryRunsLow: heads and bodies that hardly come are ended
// for the sake of others; a request whose instance is slow is not, nor is any of
// them while there is enough.
func TestSlowClientsEndWhenMemoryRunsLow(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	waits := k.dial()
	waits.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	head, body := k.dial(), k.dial()
	head.send("GET / HTTP/1.1", "Host: web.example.org", "X-Slow: a")
	body.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 60000", "", "x")
	until(t, "three requests", func() bool { n, _ := b.Taken(memory.Requests); return n >= 3*30<<10 })
	time.Sleep(1500 * time.Millisecond)
	if n := k.proxy.Reasons()["overloaded"]; n > 0 {
		t.Fatalf("%d requests were ended while there was memory", n)
	}
	most := int64(1<<20)/4*3 + 100<<10 // scarce when one has ended, too
	defer fill(t, b, memory.Requests, most)()
	head.status("GET", 503, "overloaded")
	body.status("POST", 503, "overloaded")
	p.ok("x")
	waits.status("GET", 200, "")
}

// TestNoMemoryForARequest: what comes when all is taken is answered 503, and
// counted; the connection of another that is under way goes on.
func TestNoMemoryForARequest(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	first, second := k.dial(), k.dial()
	first.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	until(t, "the second connection", func() bool { n, _ := b.Taken(memory.Connections); return n >= 2*6<<10 })
	empty := fill(t, b, memory.Requests, 1<<20/16*14)
	second.send("GET / HTTP/1.1", "Host: web.example.org", "")
	second.status("GET", 503, "overloaded")
	p.ok("x")
	first.status("GET", 200, "")
	// The client has its answer a moment before the connection is free again.
	until(t, "an idle connection", func() bool { return k.registry.All()[0].Status().Idle == 1 })
	empty()
	third := k.dial()
	third.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p.head() // over the connection that the first one has left
	p.ok("x")
	third.status("GET", 200, "")
}

// TestNobodyIsWaitedForWhenMemoryRunsOut: what has come as a whole is answered, what
// has not is refused, long before the least rate or the watch would end it, and when
// there is memory again it is waited for.
func TestNobodyIsWaitedForWhenMemoryRunsOut(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long, BodyIdle: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	whole, head, body := k.dial(), k.dial(), k.dial()
	until(t, "three connections", func() bool { n, _ := b.Taken(memory.Connections); return n >= 3*6<<10 })
	empty := fill(t, b, memory.Requests, 1<<20/16*13) // with the next request it is more
	io.WriteString(head.Conn, "GET / HTTP/1.1\r\nHost: web.exa")
	head.status("GET", 503, "overloaded")
	io.WriteString(body.Conn, "POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 10\r\n\r\n01234")
	body.status("POST", 503, "overloaded")
	whole.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	p.ok("x")
	whole.status("GET", 200, "")
	empty()
	io.WriteString(whole.Conn, "POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 10\r\n\r\n01234")
	time.Sleep(200 * time.Millisecond) // longer than the wait where memory runs out
	io.WriteString(whole.Conn, "56789")
	p.head()
	p.read("0123456789")
	p.ok("x")
	whole.status("POST", 200, "")
}

// TestBodyWithoutALargeBuffer: where others hold all that large buffers may take, a
// body that would have one goes through a small one, whole.
func TestBodyWithoutALargeBuffer(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	defer fill(t, b, memory.Buffers, 1<<19)()
	body := strings.Repeat("0123456789", 3000)
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 30000", "")
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { io.WriteString(c.Conn, body) })
	p := o.next()
	if h := p.head(); !strings.HasPrefix(h, "POST ") {
		t.Fatalf("the instance got %q", h)
	}
	p.read(body)
	p.ok("x")
	c.status("POST", 200, "")
}

// TestSmallBodyOfALargeClient: where there is no large buffer for a body, it is sent on
// through a small one; beyond twelve sixteenths of the memory that is refused to a client
// beyond its share, before the instance hears of it.
func TestSmallBodyOfALargeClient(t *testing.T) {
	const all = 4 << 20
	b := memory.NewBudget(all)
	k, o := web(t, settings{server: http1.Options{HeadTimeout: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	body := strings.Repeat("x", 20_000)
	post := "POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 20000\r\n\r\n" + body
	empty := fill(t, b, memory.Requests, all/16*10)
	c := k.dial()
	io.WriteString(c, post)
	p := o.next()
	p.head()
	p.read(body)
	p.ok("x")
	c.status("POST", 200, "")
	empty()
	until(t, "the memory of the first", func() bool { n, _ := b.Taken(memory.Requests); return n == 0 })
	defer fill(t, b, memory.Requests, all/16*12+60<<10)()
	c = k.dial()
	io.WriteString(c, post)
	c.status("POST", 503, "overloaded")
}
