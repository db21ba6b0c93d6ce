package http1_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"serai/upstream"
)

// TestKilledInstance: an instance dies with its part of many requests, and another one
// answers each of them: more fail at once than a budget against overload would allow.
func TestKilledInstance(t *testing.T) {
	const clients = 90
	for _, n := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(n, " instances"), func(t *testing.T) {
			t.Parallel()
			var begun, first, answered atomic.Int64
			killed, wait := make(chan struct{}), make(chan struct{})
			var servers []*httptest.Server
			var addresses []string
			for i := range n {
				s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					begun.Add(1)
					if i == 0 {
						first.Add(1)
						<-killed
						panic(http.ErrAbortHandler)
					}
					<-wait
				}))
				t.Cleanup(s.Close)
				servers, addresses = append(servers, s), append(addresses, s.Listener.Addr().String())
			}
			k := newStack(t, settings{registry: upstream.RegistryOptions{}})
			k.service("web", addresses, "ingress.host=web.example.org")
			k.awaitReady()
			var all sync.WaitGroup
			for range clients {
				c := k.dial()
				all.Go(func() {
					c.send("GET / HTTP/1.1", "Host: web.example.org", "")
					defer answered.Add(1)
					c.status("GET", 200, "")
				})
			}
			until(t, "all requests", func() bool { return begun.Load() == clients })
			servers[0].Listener.Close()
			close(killed)
			until(t, "the repeats", func() bool { return begun.Load() >= clients+first.Load() || answered.Load() > 0 })
			close(wait)
			all.Wait()
		})
	}
}
