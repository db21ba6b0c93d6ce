package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestDrainAnswersWhoWaits: a request that waits for an instance when a drain has used up its time
// is answered; only the one that an instance has is cut off.
func TestDrainAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	admin := testnet.Address(t)
	busy := instance(t, "busy", "ingress.host="+authHost, "ingress.max-inflight=1", "ingress.wait=5m", "ingress.timeout=5m")
	p, address := serveStatic(t, []nomad.Registration{busy}, "--admin="+admin, "--drain-timeout=5s")
	requests := func(n string) func() bool {
		return func() bool { return strings.Contains(metric(admin, "serai_requests_in_flight"), " "+n) }
	}
	var all sync.WaitGroup
	all.Go(func() {
		if status, body := get(address, authHost, "/slow?wait=4m"); status != 0 {
			t.Errorf("the request in flight is answered %d %s", status, body)
		}
	})
	until(t, "the request in flight", requests("1"))
	for name, h := range webClients(t, address) {
		all.Go(func() {
			r, err := http.NewRequest("GET", "http://"+authHost+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := h.Do(r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			res.Body.Close()
			if reason := res.Header.Get("X-Serai-Reason"); res.StatusCode != 503 || reason != "stopping" || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: answered %d with %v", name, res.StatusCode, res.Header)
			}
		})
	}
	until(t, "all of them", requests("3"))
	p.stop()
	all.Wait()
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}
