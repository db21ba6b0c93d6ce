package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// renewals are how often the roots and the certificates are renewed under load.
const renewals = 10

// TestConnectRotation: no request fails while roots and certificates are renewed, of a serai
// that opens a connection for each request and of one that keeps them.
func TestConnectRotation(t *testing.T) {
	t.Parallel()
	onMeshes(t, func(t *testing.T, a meshAgent) {
		if _, real := a.(*realMesh); real && testing.Short() {
			t.Skip("a real agent takes up to half a minute to renew a certificate: not with -short")
		}
		web := instance(t, "web")
		meshed(t, a, "web1", "web", net.JoinHostPort(web.Address, fmt.Sprint(web.Port)), "ingress.host=web.example.org", "ingress.connect=on", "ingress.retries=0")
		_, once, admin := meshServe(t, a.url(), "", "--upstream-max-idle=0")
		_, kept, adminOfKept := meshServe(t, a.url(), "")
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		defer clients.Wait()
		defer stop()
		var requests, failed atomic.Int64
		for _, traffic := range []string{once, kept, once, kept} {
			until(t, "the service", func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
			clients.Go(func() {
				for ctx.Err() == nil {
					if status, body := get(traffic, "web.example.org", "/"); status != 200 {
						failed.Add(1)
						t.Errorf("%d %s", status, body)
					}
					requests.Add(1)
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		awaitRenewals(t, a, []string{admin, adminOfKept}, func() bool { return requests.Load() >= loadRequests() })
		stop()
		clients.Wait()
		t.Logf("%d of %d requests failed; %s", failed.Load(), requests.Load(), metric(admin, "serai_connect_renewals_total"))
	})
}

// awaitRenewals renews roots and certificates, until that is enough, each time once each serai
// has what was renewed before, by their admins' addresses. A real agent renews a certificate
// only with its root.
func awaitRenewals(t *testing.T, a meshAgent, admins []string, enough func() bool) {
	t.Helper()
	renew := func(what string, change func(), kinds ...string) {
		t.Helper()
		counts := func() (all []string) {
			for _, admin := range admins {
				for _, kind := range kinds {
					all = append(all, metric(admin, `serai_connect_renewals_total{what="`+kind+`"}`))
				}
			}
			return all
		}
		before := counts()
		change()
		for end := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			now, missing := counts(), false
			for i := range now {
				missing = missing || now[i] == before[i]
			}
			if !missing {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s is not known", what)
			}
		}
	}
	for n := 0; n < renewals || !enough(); n++ {
		renew(fmt.Sprint("root ", n), func() { a.rotate(t) }, "roots", "certificate")
	}
	if s, simulated := a.(*simulatedMesh); simulated {
		for n := range renewals {
			renew(fmt.Sprint("certificate ", n), func() { s.RenewLeaf("serai", 0) }, "certificate")
		}
	}
}
