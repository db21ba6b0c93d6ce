package acme_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"serai/tls/acme"
	"serai/tls/acme/acmetest"
)

// waitForCA counts the hosts that wait until the CA answers.
func (o *orderer) waitForCA() int {
	b := o.Status(context.Background()).Budget
	if b == nil {
		return 0
	}
	return b.Held["ca-busy"]
}

// TestBusyCAIsLeftAlone: a CA that is busy, or whose directory cannot be had, is not asked for
// each of the other hosts as well.
func TestBusyCAIsLeftAlone(t *testing.T) {
	busy := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}
	for name, fault := range map[string]http.HandlerFunc{
		"busy": func(w http.ResponseWriter, _ *http.Request) { busy(w) },
		"busy for orders": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "order-plz") {
				busy(w)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
			ca.Fail(fault)
			hosts := append(hostsOf("a", "a%02d.test", 40), hostsOf("b", "b%02d.test", 40)...)
			o := orderAt(t, ca, newMemory(), acme.Limits{}, hosts...)
			until(t, "the others to wait", func() bool { return o.waitForCA() >= 70 })
			asked := 0
			for _, h := range o.Status(context.Background()).Hosts {
				if h.Attempts > 0 {
					asked++
				}
			}
			if asked == 0 || asked > 8 { // as many as were in progress together
				t.Errorf("%d hosts were ordered for", asked)
			}
		})
	}
}

// TestBrokenCAIsAskedAgain: once a CA is whole again, orders go on.
func TestBrokenCAIsAskedAgain(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
	ca.Fail(acmetest.Broken)
	hosts := hostsOf("a", "a%02d.test", 40)
	o := orderAt(t, ca, newMemory(), acme.Limits{}, hosts...)
	until(t, "the others to wait", func() bool { return o.waitForCA() > 0 })
	ca.Fail(nil)
	until(t, "a certificate", func() bool { return o.has("a39.test") || o.Orders()["ok"] > 0 })
}

// TestCAThatIsLostLater: a CA whose directory is known already is left alone as well when it
// cannot be reached, or answers nothing of use, any more.
func TestCAThatIsLostLater(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"unreachable": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"broken":      acmetest.Broken,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
			o := orderAt(t, ca, newMemory(), acme.Limits{}, hostsOf("a", "first%02d.test", 1)...)
			until(t, "the first certificate", func() bool { return o.has("first00.test") })
			ca.Fail(fault)
			o.want(append(hostsOf("a", "first%02d.test", 1), hostsOf("a", "a%02d.test", 40)...)...)
			until(t, "the others to wait", func() bool { return o.waitForCA() >= 30 })
		})
	}
}
