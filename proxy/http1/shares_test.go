package http1_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"serai/internal/testnet"
	"serai/proxy"
	"serai/upstream"
)

// TestWaitingRequestsLeaveRoomForOtherRoutes: as many requests as may wait do so for
// one route, and one for another route waits for its instance all the same.
func TestWaitingRequestsLeaveRoomForOtherRoutes(t *testing.T) {
	const body = 20
	for name, n := range map[string]int{"small bodies count for what they are": 60, "a crowd makes room": 300} {
		t.Run(name, func(t *testing.T) {
			k := newStack(t, settings{registry: upstream.RegistryOptions{MaxWaitingBytes: 1 << 20}})
			for _, service := range []string{"greedy", "modest"} {
				k.service(service, []string{unused(t)}, "ingress.host="+service+".example.org", "ingress.wait=2m")
			}
			for i := range n {
				c := k.dial()
				if i >= n/2 { // they fill what larger ones leave
					c.send("GET / HTTP/1.1", "Host: greedy.example.org", "")
					continue
				}
				c.write(fmt.Sprintf("POST / HTTP/1.1\r\nHost: greedy.example.org\r\nContent-Length: %d\r\n\r\n%s", body, strings.Repeat("x", body)))
			}
			until(t, "the crowd", func() bool {
				return k.registry.Waiting().Requests+int(k.proxy.Reasons()["queue-full"]) == n
			})
			if full := k.proxy.Reasons()["queue-full"]; n < 100 && full > 0 {
				t.Errorf("%d of %d small requests were told that the queue is full", full, n)
			}
			before := k.registry.Waiting()
			c := k.dial()
			c.send("GET / HTTP/1.1", "Host: modest.example.org", "")
			modest := func() int {
				for _, r := range k.router.Current().Routes() {
					if r.Service == "modest" {
						return r.Pool.Room().Waiting()
					}
				}
				return 0
			}
			until(t, "the other route's request in line", func() bool { return modest() == 1 })
			if s := k.registry.Waiting(); s.Bytes > s.Limit {
				t.Errorf("%+v after %+v", s, before)
			}
			o := newOrigin(t)
			k.service("modest", []string{o.address}, "ingress.host=modest.example.org", "ingress.wait=2m")
			p := o.next()
			p.head()
			p.ok("x")
			c.status("GET", 200, "")
		})
	}
}

// unused returns an address nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	return testnet.Address(t)
}

// TestHangingRetriesAreTheirRoutesOwn: eight requests of one route, which are being
// repeated and hang, leave the retries of another one as they are.
func TestHangingRetriesAreTheirRoutesOwn(t *testing.T) {
	const hanging, asked = 8, 20
	k := newStack(t, settings{proxy: proxy.Options{RetryMin: hanging}, registry: upstream.RegistryOptions{EjectAfter: -1}})
	fails := func(string) { panic(http.ErrAbortHandler) }
	let := make(chan struct{})
	bad, hangs := newCounted(t, fails), newCounted(t, func(string) { <-let })
	free := sync.OnceFunc(func() { close(let) })
	t.Cleanup(free)
	k.service("greedy", []string{bad.address(), hangs.address()}, "ingress.host=greedy.example.org", "ingress.lb=round-robin", "ingress.retries=2")
	other, good := newCounted(t, fails), newCounted(t, func(string) {})
	k.service("modest", []string{other.address(), good.address()}, "ingress.host=modest.example.org", "ingress.lb=round-robin", "ingress.retries=2")
	k.awaitReady()
	retrying := func() (n int64) {
		for _, r := range k.router.Current().Routes() {
			if r.Service == "greedy" {
				n = r.Stats.Retrying.Taken()
			}
		}
		return n
	}
	var clients sync.WaitGroup
	for n := 0; n < 10*hanging && retrying() < hanging; n++ {
		seen := len(hangs.seen())
		clients.Go(func() { k.ask("greedy.example.org", "/") })
		until(t, "the request at the instance that hangs", func() bool { return len(hangs.seen()) > seen })
	}
	if n := retrying(); n != hanging {
		t.Fatalf("%d requests are being repeated, want %d", n, hanging)
	}
	for range asked {
		if status, reason, err := k.ask("modest.example.org", "/"); status != 200 {
			t.Errorf("another route's request: %d %q, %v", status, reason, err)
		}
	}
	if n := len(other.seen()); n < asked/4 {
		t.Errorf("only %d of %d requests needed a retry", n, asked)
	}
	free()
	clients.Wait()
}
