package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
)

// closing is an instance that closes connections that have been idle for a
// while, and answers with a Keep-Alive field.
type closing struct {
	address string
	after   atomic.Int64 // nanoseconds; 0 for never
	field   string
	conns   atomic.Int64 // that have brought a request
	latest  atomic.Int64 // the longest time after which one was closed, in nanoseconds

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newClosing(t *testing.T, after time.Duration, field string) *closing {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &closing{address: l.Addr().String(), field: field, open: make(map[net.Conn]bool)}
	i.after.Store(int64(after))
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); i.closeAll(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.mu.Lock()
			i.open[c] = true
			i.mu.Unlock()
			running.Go(func() { i.serve(c) })
		}
	})
	return i
}

func (i *closing) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for first := true; ; first = false {
		since := time.Now()
		if d := i.after.Load(); d > 0 {
			c.SetReadDeadline(time.Now().Add(time.Duration(d)))
		}
		request, err := http.ReadRequest(r)
		if err != nil {
			if took := time.Since(since); took > time.Duration(i.latest.Load()) {
				i.latest.Store(int64(took))
			}
			return
		}
		request.Body.Close()
		if first {
			i.conns.Add(1)
		}
		c.Write([]byte("HTTP/1.1 200 OK\r\n" + i.field + "Content-Length: 2\r\n\r\nok"))
	}
}

// closeAll does what a reload does.
func (i *closing) closeAll() time.Duration {
	began := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	for c := range i.open {
		c.Close()
	}
	clear(i.open)
	return time.Since(began)
}

// together sends n requests at once, so that as many connections are left.
func together(k *stack, n int) {
	var all sync.WaitGroup
	for range n {
		c := k.dial()
		all.Go(func() {
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			c.status("GET", 200, "")
		})
	}
	all.Wait()
}

// TestIdleAgesAreLearned: an instance closes idle connections after a while.
// After a few seconds of requests none of them is sent over a connection that
// is about to be closed.
func TestIdleAgesAreLearned(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 2500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			inTime(t, func() error { return learns(t, after) })
		})
	}
}

// learns returns how a serai fails to learn of an instance.
func learns(t *testing.T, after time.Duration) error {
	i := newClosing(t, after, "")
	k := newStack(t, settings{})
	k.service("web", []string{i.address}, "ingress.host=web.example.org")
	k.awaitReady()
	learned := func() time.Duration { return k.registry.All()[0].Status().ClosesIdle }
	for end := time.Now().Add(long / 2); learned() == 0 && time.Now().Before(end); time.Sleep(after * 6 / 5) {
		together(k, 3)
	}
	if got := learned(); got < after*8/10 || got > time.Duration(i.latest.Load())*11/10 {
		return fmt.Errorf("learned %v of an instance that closes after %v", got, after)
	}
	// One connection, as old as it may be, and none older. A busy instance has closed
	// the others later than it meant to.
	after = learned()
	i.after.Store(0)
	together(k, 1)
	before := i.conns.Load()
	time.Sleep(after * 95 / 100)
	together(k, 1)
	if i.conns.Load() == before {
		return errors.New("a connection was used again right before its instance closes it")
	}
	return nil
}

// TestKeepAliveTimeoutIsHeeded holds reuse to what answers announce.
func TestKeepAliveTimeoutIsHeeded(t *testing.T) {
	for field, c := range map[string]struct {
		pause time.Duration
		again bool
	}{
		"timeout=0":             {0, false},
		"timeout=1":             {950 * time.Millisecond, false},
		"max=5, Timeout=1":      {950 * time.Millisecond, false},
		"timeout=60, max=100":   {100 * time.Millisecond, true},
		"timeout=60":            {950 * time.Millisecond, true},
		"timeout":               {100 * time.Millisecond, true},
		"timeout=-1":            {100 * time.Millisecond, true},
		"timeout=x, timeout=0":  {100 * time.Millisecond, true},
		"timeouts=0":            {100 * time.Millisecond, true},
		"timeout=9999999999999": {100 * time.Millisecond, true},
		"=,;, ,":                {100 * time.Millisecond, true},
	} {
		t.Run(strings.ReplaceAll(field, " ", "_"), func(t *testing.T) {
			t.Parallel()
			i := newClosing(t, 0, "Keep-Alive: "+field+"\r\n")
			k := newStack(t, settings{})
			k.service("web", []string{i.address}, "ingress.host=web.example.org")
			k.awaitReady()
			together(k, 1)
			if c.again { // the client has its answer a moment before the connection is free
				until(t, "an idle connection", func() bool { return k.registry.All()[0].Status().Idle == 1 })
			}
			time.Sleep(c.pause)
			together(k, 1)
			if again := i.conns.Load() == 1; again != c.again {
				t.Errorf("the connection was used again: %v, want %v", again, c.again)
			}
		})
	}
}

// TestOlderConnections: a connection that has been idle for so long that the instance may be about to close it is only for
// requests that are sent again if it does.
func TestOlderConnections(t *testing.T) {
	for name, c := range map[string]struct {
		tags    string
		request []string
		again   bool
	}{
		"GET":                  {"", []string{"GET / HTTP/1.1"}, true},
		"PUT":                  {"", []string{"PUT / HTTP/1.1", "Content-Length: 0"}, true},
		"POST":                 {"", []string{"POST / HTTP/1.1", "Content-Length: 0"}, false},
		"POST with a key":      {"", []string{"POST / HTTP/1.1", "Content-Length: 0", "Idempotency-Key: 1"}, true},
		"POST by retry-post":   {"ingress.retry-post=on", []string{"POST / HTTP/1.1", "Content-Length: 0"}, true},
		"GET without retries":  {"ingress.retries=0", []string{"GET / HTTP/1.1"}, false},
		"an unknown method":    {"", []string{"REPORT / HTTP/1.1"}, false},
		"key that is not sent": {"", []string{"POST / HTTP/1.1", "Content-Length: 0", "Idempotency-Key: 1", "Connection: Idempotency-Key"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newClosing(t, 0, "")
			k := newStack(t, settings{registry: upstream.RegistryOptions{IdleTimeout: time.Nanosecond, RepeatableIdle: time.Hour}})
			tags := []string{"ingress.host=web.example.org"}
			if c.tags != "" {
				tags = append(tags, c.tags)
			}
			k.service("web", []string{i.address}, tags...)
			k.awaitReady()
			together(k, 1)
			until(t, "an idle connection", func() bool { return k.registry.All()[0].Status().Idle >= 1 }) // besides the probe's, perhaps
			client := k.dial()
			client.send(append(c.request, "Host: web.example.org", "")...)
			client.status(strings.Fields(c.request[0])[0], 200, "")
			if again := i.conns.Load() == 1; again != c.again {
				t.Errorf("the connection was used again: %v, want %v", again, c.again)
			}
		})
	}
}

// TestABurstOverOldConnections: all connections to the only instance have been idle for a while, and each ends when it is
// used, as when a firewall has forgotten them. No request that may be repeated fails, whatever the budget of retries.
func TestABurstOverOldConnections(t *testing.T) {
	const clients = 50
	k, o := web(t, settings{})
	var asked atomic.Int32
	together := make(chan struct{}) // all of the first burst have come, each over a connection of its own
	go func() {
		for p := range o.conns {
			go func() {
				for old := false; ; {
					if line, err := p.r.ReadString('\n'); err != nil {
						return
					} else if line != "\r\n" {
						continue
					}
					if old {
						p.reset()
						return
					}
					n := asked.Add(1)
					if old = n <= clients; n == clients {
						close(together)
					}
					<-together
					p.ok("ok")
				}
			}()
		}
	}()
	k.awaitReady()
	var all []*peer
	for range clients {
		all = append(all, k.dial())
	}
	burst := func() (failed int) {
		for _, c := range all {
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
		}
		for _, c := range all {
			if res, body := c.answer("GET"); res.StatusCode != 200 || body != "ok" {
				failed++
			}
		}
		return failed
	}
	if failed := burst(); failed > 0 {
		t.Fatalf("%d of %d failed over new connections", failed, clients)
	}
	time.Sleep(300 * time.Millisecond) // until they count as idle
	if failed := burst(); failed > 0 {
		t.Errorf("%d of %d requests failed over connections that had been idle", failed, clients)
	}
}

// TestIdleConnectionsUseUpRetries: a request whose connection had been idle, and ended, may have been processed. It is
// sent again as often as retries says, and no more.
func TestIdleConnectionsUseUpRetries(t *testing.T) {
	for _, retries := range []int32{0, 1, 2} {
		k, o := web(t, settings{}, fmt.Sprintf("ingress.retries=%d", retries))
		var asked atomic.Int32
		go func() {
			for p := range o.conns {
				go func() {
					for {
						if line, err := p.r.ReadString('\n'); err != nil {
							return
						} else if line != "\r\n" {
							continue
						}
						if asked.Add(1) > 1 {
							p.reset()
							return
						}
						p.ok("ok")
					}
				}()
			}
		}()
		k.awaitReady()
		c := k.dial()
		for i, want := range []int{200, 502} {
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			if res, _ := c.answer("GET"); res.StatusCode != want {
				t.Fatalf("retries=%d: request %d was answered %d", retries, i, res.StatusCode)
			}
			until(t, "what is idle", func() bool { return k.registry.All()[0].Status().Idle == 1-i })
			time.Sleep(300 * time.Millisecond) // until it counts as idle
		}
		if failed := asked.Load() - 1; failed != retries+1 {
			t.Errorf("retries=%d: the instance failed it %d times", retries, failed)
		}
	}
}

// TestAReloadTeachesNothing: an instance closes connections of every age at
// once, twice.
func TestAReloadTeachesNothing(t *testing.T) {
	i := newClosing(t, 0, "")
	k := newStack(t, settings{registry: upstream.RegistryOptions{}})
	k.service("web", []string{i.address}, "ingress.host=web.example.org")
	k.awaitReady()
	for range 2 {
		for n := 6; n > 0; n-- { // the later ones use some of the earlier again
			together(k, n)
			time.Sleep(300 * time.Millisecond)
		}
		if took := i.closeAll(); took > 30*time.Millisecond {
			t.Skipf("a machine that needs %v for a reload closes one after the other", took)
		}
		time.Sleep(1200 * time.Millisecond) // a sweep
	}
	if got := k.registry.All()[0].Status().ClosesIdle; got != 0 {
		t.Errorf("learned %v of an instance that never closes idle connections by age", got)
	}
}
