package http1_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted is an instance that notes how many requests it has at once, and in
// which order they came.
type counted struct {
	*httptest.Server
	now, most atomic.Int64
	mu        sync.Mutex
	order     []string // paths
}

func newCounted(t *testing.T, answer func(path string)) *counted {
	t.Helper()
	c := &counted{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := c.now.Add(1)
		defer c.now.Add(-1)
		for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
		}
		c.mu.Lock()
		c.order = append(c.order, r.URL.Path)
		c.mu.Unlock()
		answer(r.URL.Path)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *counted) address() string { return c.Listener.Addr().String() }

// seen returns the paths in the order in which they came.
func (c *counted) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}

// ask sends a request over a connection of its own and returns its answer.
func (k *stack) ask(host, path string) (status int, reason string, err error) {
	c, err := net.Dial("tcp", k.address)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(long))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "GET"})
	if err != nil {
		return 0, "", err
	}
	res.Body.Close()
	return res.StatusCode, res.Header.Get("X-Serai-Reason"), nil
}

// TestRetryWaitsForAnother: a request that one instance has failed waits for a
// place on another instead of being sent to the first again. Where the wait is in
// vain, the first is better than none.
func TestRetryWaitsForAnother(t *testing.T) {
	for _, wait := range []string{"2m", "0s"} {
		t.Run(wait, func(t *testing.T) {
			k := newStack(t, settings{})
			bad := newCounted(t, func(string) { panic(http.ErrAbortHandler) })
			let := make(chan struct{})
			good := newCounted(t, func(string) { <-let })
			free := sync.OnceFunc(func() { close(let) })
			t.Cleanup(free)
			k.service("web", []string{bad.address(), good.address()}, "ingress.host=web.example.org",
				"ingress.lb=round-robin", "ingress.max-inflight=1", "ingress.retries=2", "ingress.wait="+wait)
			k.awaitReady()
			var clients sync.WaitGroup
			ask := func(path string, want int) {
				clients.Go(func() {
					if status, reason, err := k.ask("web.example.org", path); status != want {
						t.Errorf("%s: %d %q, %v, want %d", path, status, reason, err, want)
					}
				})
			}
			ask("/first", 200)
			until(t, "the good instance's request", func() bool { return len(good.seen()) == 1 })
			if wait == "0s" {
				if status, reason, err := k.ask("web.example.org", "/second"); status != 502 || reason != "upstream-closed" {
					t.Errorf("/second: %d %q, %v, want the bad instance's failure", status, reason, err)
				}
				free()
				clients.Wait()
				return
			}
			ask("/second", 200)
			ask("/third", 200)
			until(t, "their place in line", func() bool { return k.router.Current().Routes()[0].Pool.Room().Waiting() == 2 })
			free()
			clients.Wait()
			tried := bad.seen()
			slices.Sort(tried)
			if again := slices.Compact(slices.Clone(tried)); len(again) != len(tried) {
				t.Errorf("the bad instance was tried again: %v", tried)
			}
		})
	}
}

// TestTwelveClientsOnTwoPlaces saturates two instances for each method of
// balance: every request is answered, and no instance has ever two at once.
func TestTwelveClientsOnTwoPlaces(t *testing.T) {
	for _, method := range []string{"least", "round-robin", "random", "hash:ip"} {
		t.Run(method, func(t *testing.T) {
			k := newStack(t, settings{})
			pause := func(string) { time.Sleep(time.Millisecond) }
			one, two := newCounted(t, pause), newCounted(t, pause)
			k.service("web", []string{one.address(), two.address()}, "ingress.host=web.example.org,www.example.org",
				"ingress.lb="+method, "ingress.max-inflight=1", "ingress.wait=2m")
			k.awaitReady()
			var clients sync.WaitGroup
			for i := range 12 {
				clients.Go(func() {
					host := []string{"web.example.org", "www.example.org"}[i%2]
					for range 25 {
						if status, reason, err := k.ask(host, "/"); status != 200 {
							t.Errorf("answer %d %q, %v", status, reason, err)
							return
						}
					}
				})
			}
			clients.Wait()
			if one.most.Load() > 1 || two.most.Load() > 1 {
				t.Errorf("the instances had %d and %d requests at once, want 1", one.most.Load(), two.most.Load())
			}
			if n := len(one.seen()) + len(two.seen()); n != 300 {
				t.Errorf("%d requests came, want 300", n)
			}
		})
	}
}

// TestFirstComeFirstServed stands twenty requests in line for one place, each
// once the one before it stands there; the hosts take turns.
func TestFirstComeFirstServed(t *testing.T) {
	k := newStack(t, settings{})
	let, ended := make(chan struct{}), make(chan struct{})
	one := newCounted(t, func(string) {
		select {
		case <-let:
		case <-ended:
		}
	})
	t.Cleanup(func() { close(ended) })
	hosts := []string{"web.example.org", "www.example.org"}
	k.service("web", []string{one.address()}, "ingress.host="+hosts[0]+","+hosts[1],
		"ingress.max-inflight=1", "ingress.wait=2m")
	k.awaitReady()
	waiting := func() (n int) {
		seen := make(map[any]bool)
		for _, r := range k.router.Current().Routes() {
			if room := r.Pool.Room(); !seen[room] {
				seen[room] = true
				n += room.Waiting()
			}
		}
		return n
	}
	var clients sync.WaitGroup
	const n = 20
	for i := range n {
		clients.Go(func() {
			if status, reason, err := k.ask(hosts[i%2], "/"+strconv.Itoa(i)); status != 200 {
				t.Errorf("request %d: %d %q, %v", i, status, reason, err)
			}
		})
		until(t, "the request's place in line", func() bool { return waiting() == i && len(one.seen()) == 1 })
	}
	for range n {
		select {
		case let <- struct{}{}:
		case <-time.After(long):
			t.Fatalf("only %d of %d requests came", len(one.seen()), n)
		}
	}
	clients.Wait()
	for i, path := range one.seen() {
		if path != "/"+strconv.Itoa(i) {
			t.Fatalf("the requests came in the order %v", one.seen())
		}
	}
}
