package acme_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/acme/acmetest"
)

// orderer is a serai that leads, with a CA of its own.
type orderer struct {
	*acme.Issuer
	ca    *acmetest.CA
	certs *tls.Store
	hosts atomic.Pointer[[]acme.Host]
	stop  func()
}

// order starts a serai that orders within limits, at a CA with one kind of validation.
// Names below "evil.test" lead elsewhere.
func order(t *testing.T, store *memory, limits acme.Limits, hosts ...acme.Host) *orderer {
	t.Helper()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01", Elsewhere: func(n string) bool { return strings.HasSuffix(n, ".evil.test") }})
	return orderAt(t, ca, store, limits, hosts...)
}

func orderAt(t *testing.T, ca *acmetest.CA, store *memory, limits acme.Limits, hosts ...acme.Host) *orderer {
	t.Helper()
	return orderWith(t, ca, store, func(o *acme.Options) { o.Limits = limits }, hosts...)
}

// orderWith starts one with other options.
func orderWith(t *testing.T, ca *acmetest.CA, store *memory, set func(*acme.Options), hosts ...acme.Host) *orderer {
	t.Helper()
	o := &orderer{ca: ca, certs: tls.NewStore()}
	o.want(hosts...)
	pool := x509.NewCertPool()
	root, err := os.ReadFile(ca.RootFile)
	if err != nil || !pool.AppendCertsFromPEM(root) {
		t.Fatal("the CA has no root", err)
	}
	options := acme.Options{
		Store: store, Certificates: o.certs, Name: "test", Email: "a@example.org", Directory: o.ca.Directory, CARoots: func() (*x509.CertPool, error) { return pool, nil },
		HTTPAddress: o.ca.HTTP, TicketLife: -1,
		Hosts: func() []acme.Host { return *o.hosts.Load() },
		Wants: func(name string) bool {
			return slices.ContainsFunc(*o.hosts.Load(), func(h acme.Host) bool { return h.Name == name })
		},
	}
	set(&options)
	if o.Issuer, err = acme.New(options); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", o.ca.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer, ok := o.AnswerHTTP(r.Host, r.URL.Path); ok {
			io.WriteString(w, answer)
			return
		}
		http.NotFound(w, r)
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); o.Run(ctx) }()
	stopped := false
	o.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-ended
			server.Close()
		}
	}
	t.Cleanup(o.stop)
	o.Changed()
	return o
}

// want changes the hosts, which are sorted.
func (o *orderer) want(hosts ...acme.Host) {
	slices.SortFunc(hosts, func(a, b acme.Host) int { return strings.Compare(a.Name, b.Name) })
	o.hosts.Store(&hosts)
	if o.Issuer != nil {
		o.Changed()
	}
}

func (o *orderer) has(host string) bool { return o.certs.Current().Lookup(host) != nil }

// told returns the status of a host.
func (o *orderer) told(host string) acme.HostStatus {
	for _, h := range o.Status(context.Background()).Hosts {
		if h.Host == host {
			return h
		}
	}
	return acme.HostStatus{}
}

// hostsOf makes hosts of a namespace; the pattern has a number.
func hostsOf(namespace, pattern string, count int) (all []acme.Host) {
	for n := range count {
		all = append(all, acme.Host{Name: fmt.Sprintf(pattern, n), Namespace: namespace, Service: namespace})
	}
	return all
}

// TestRefusalStopsNobodyElse: the CA refuses all orders of one namespace's domain, and
// says for how long: orders of another namespace go on, and the refused one is tried
// once.
func TestRefusalStopsNobodyElse(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
	ca.Fail(acmetest.LimitedFor("limited.test", "7200"))
	o := orderAt(t, ca, newMemory(), acme.Limits{}, hostsOf("evil", "a%02d.limited.test", 40)...)
	until(t, "the refusal", func() bool { return o.Orders()["rate-limited"] > 0 })
	o.want(append(hostsOf("evil", "a%02d.limited.test", 40), hostsOf("good", "w%d.test", 3)...)...)
	for _, h := range hostsOf("good", "w%d.test", 3) {
		until(t, "the certificate of "+h.Name, func() bool { return o.has(h.Name) })
	}
	if n := o.Orders()["rate-limited"]; n > 4 { // as many as were in progress together
		t.Errorf("the CA refused %d orders", n)
	}
	until(t, "the refusal to be told", func() bool { return o.Status(context.Background()).Budget.Held["rate-limited"] > 30 })
	waits := time.Duration(0)
	for _, h := range o.Status(context.Background()).Hosts {
		if h.Attempts > 0 {
			waits = max(waits, time.Until(*h.Next))
		}
	}
	if waits < 119*time.Minute {
		t.Errorf("what the CA refused for two hours is tried again in %v", waits)
	}
}

// TestLimitsAreKept: a namespace uses its share of the CA's limits, also after a change
// of the leader; another one uses the rest; and the status of waiting hosts says what
// they wait for.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	limits := acme.Limits{Orders: 20, Domain: 6, NamespaceShare: 0.5}
	evil := append(hostsOf("evil", "a%02d.evil.test", 30), hostsOf("evil", "a%02d.shared.test", 10)...)
	store := newMemory()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01", Elsewhere: func(n string) bool { return strings.HasSuffix(n, ".evil.test") }})
	all := append(slices.Clone(evil), acme.Host{Name: "w.shared.test", Namespace: "good", Service: "good"})
	o := orderAt(t, ca, store, limits, all...)
	until(t, "the good one", func() bool { return o.has("w.shared.test") })
	until(t, "the share to be taken", func() bool {
		b := o.Status(context.Background()).Budget
		return b != nil && b.Held["namespace-orders"] > 20 && b.Namespaces[0].UnderWay == 0
	})
	check := func() {
		t.Helper()
		if n := ca.AllOrders() - ca.Orders("w.shared.test") - ca.Orders("x.test"); n > 10 {
			t.Errorf("one namespace made %d orders, its share is 10", n)
		}
	}
	check()
	if h := o.told("a29.evil.test"); !strings.Contains(h.Held, "10 orders in 3 hours") || h.Next == nil {
		t.Errorf("the wait is told as %+v", h)
	}
	o.stop()
	before := ca.AllOrders()
	o = orderAt(t, ca, store, limits, append(all, acme.Host{Name: "x.test", Namespace: "third", Service: "third"})...)
	until(t, "the third namespace", func() bool { return o.has("x.test") })
	until(t, "the plan", func() bool {
		b := o.Status(context.Background()).Budget
		return b != nil && b.Held["namespace-orders"] > 20
	})
	check()
	if n := ca.AllOrders() - before; n != 1 {
		t.Errorf("the next leader made %d orders, want that of the third namespace", n)
	}
}

// TestDomainIsShared: a namespace gets its share of a registered domain, and another
// one the rest.
func TestDomainIsShared(t *testing.T) {
	t.Parallel()
	o := order(t, newMemory(), acme.Limits{Domain: 6, NamespaceShare: 0.5},
		append(hostsOf("a", "a%02d.shared.test", 20), hostsOf("b", "b%02d.shared.test", 20)...)...)
	held := func(cause string) int {
		b := o.Status(context.Background()).Budget
		if b == nil {
			return -1
		}
		return b.Held[cause]
	}
	until(t, "all of the domain to be taken", func() bool {
		return held("domain")+held("namespace-domain") == 34 && len(o.certs.Current().Status()) == 6
	})
	for _, ns := range []string{"a", "b"} {
		n := 0
		for _, c := range o.certs.Current().Status() {
			if strings.HasPrefix(c.Names[0], ns) {
				n++
			}
		}
		if n != 3 {
			t.Errorf("namespace %s has %d certificates of six", ns, n)
		}
	}
	// A failed order is tried again, within the same limit.
	until(t, "six orders that brought a certificate", func() bool { return o.Orders()["ok"] == 6 })
}

// TestCertificatesAreBounded: beyond the limit new hosts get none, with the reason, and
// failed orders use no place.
func TestCertificatesAreBounded(t *testing.T) {
	t.Parallel()
	hosts := append(hostsOf("evil", "a%02d.evil.test", 6), hostsOf("good", "w%d.test", 6)...)
	o := order(t, newMemory(), acme.Limits{Certificates: 6, NamespaceShare: 0.5}, hosts...)
	until(t, "the share of a namespace", func() bool {
		b := o.Status(context.Background()).Budget
		return b != nil && b.Held["namespace-certificates"] == 3 && o.Orders()["ok"] == 3
	})
	if h := o.told("w5.test"); !strings.Contains(h.Held, "namespace good has 3 certificates") {
		t.Errorf("the refusal is told as %+v", h)
	}
	o.want(append(hosts, hostsOf("third", "t%d.test", 9)...)...)
	until(t, "all certificates", func() bool {
		b := o.Status(context.Background()).Budget
		return b.Held["certificates"] > 0 && o.Orders()["ok"] == 6
	})
}

// TestFailuresAreBounded: a host whose name leads elsewhere fails as often as the CA
// permits in an hour, whatever the back-off says.
func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	o := order(t, newMemory(), acme.Limits{Failures: 1}, acme.Host{Name: "a.evil.test", Namespace: "evil"})
	until(t, "the failure", func() bool { return o.told("a.evil.test").Attempts == 1 })
	if next := time.Until(*o.told("a.evil.test").Next); next < 59*time.Minute {
		t.Errorf("it is tried again in %v", next)
	}
}
