package acme_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// ordering is an issuer that leads, whose CA cannot be reached, and the serai that it
// asks.
type ordering struct {
	*testing.T
	*acme.Issuer
	store *memory

	mu    sync.Mutex
	hosts []string
	peers []acme.Peer
	err   error
}

func newOrdering(t *testing.T, wait time.Duration, hosts ...string) *ordering {
	t.Helper()
	o := &ordering{T: t, store: newMemory(), hosts: hosts}
	var err error
	o.Issuer, err = acme.New(acme.Options{
		Store: o.store, Certificates: tls.NewStore(), Name: "test", Email: "a@example.org", Directory: "https://own.test/dir",
		HTTPAddress: "127.0.0.1:1", OrderTimeout: 100 * time.Millisecond, PeerWait: wait, TicketLife: -1,
		Hosts: func() (all []acme.Host) {
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, h := range o.hosts {
				all = append(all, acme.Host{Name: h, Namespace: "default", Service: h})
			}
			return all
		},
		Wants: func(h string) bool { o.mu.Lock(); defer o.mu.Unlock(); return slices.Contains(o.hosts, h) },
		Peers: func(context.Context) ([]acme.Peer, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			return slices.Clone(o.peers), o.err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// lead runs the issuer until the test ends.
func (o *ordering) lead() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); o.Issuer.Run(ctx) }()
	o.Cleanup(func() { cancel(); <-ended })
	o.Changed()
}

func (o *ordering) set(change func()) {
	o.mu.Lock()
	change()
	o.mu.Unlock()
	o.Changed()
}

func (o *ordering) waiting() *acme.Waiting { return o.Status(o.Context()).Waiting }

func (o *ordering) ordered() uint64 { return o.Orders()["failed"] }

func (o *ordering) until(what string, holds func() bool) {
	o.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			o.Fatalf("waited in vain for %s: %+v, %v", what, o.waiting(), o.Orders())
		}
	}
}

func (o *ordering) hasToken() bool {
	entries, _, _ := o.store.List(o.Context(), "acme", 0)
	return slices.ContainsFunc(entries, func(e certstore.Entry) bool { return strings.Contains(e.Path, "challenge_tokens") })
}

// peer is a serai that answers like the issuer, once it is switched on, and records the
// requested hosts.
type peer struct {
	acme.Peer
	server *httptest.Server
	mu     sync.Mutex
	on     bool
	asked  []string
}

func (o *ordering) peer(id string, on bool) *peer {
	p := &peer{on: on}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		on := p.on
		p.asked = append(p.asked, r.Host)
		p.mu.Unlock()
		if answer, ok := o.AnswerHTTP(r.Host, r.URL.Path); on && ok {
			w.Write([]byte(answer))
			return
		}
		http.Redirect(w, r, "https://elsewhere.test/", http.StatusPermanentRedirect)
	}))
	p.server = server
	o.Cleanup(server.Close)
	p.Peer = acme.Peer{ID: id, Address: server.Listener.Addr().String()}
	return p
}

func (p *peer) hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestPeersAreAskedOnce: a serai that has answered is not asked for the next host, and
// then the token is gone. A new one is asked.
func TestPeersAreAskedOnce(t *testing.T) {
	o := newOrdering(t, time.Hour, "a.test")
	first := o.peer("first", true)
	o.peers = []acme.Peer{first.Peer}
	o.lead()
	o.until("the first order", func() bool { return o.ordered() == 1 })
	o.set(func() { o.hosts = []string{"a.test", "b.test"} })
	o.until("the second order", func() bool { return o.ordered() == 2 })
	if got := first.hosts(); len(got) != 1 || got[0] != "a.test" {
		t.Errorf("it was asked for %q, want a.test once", got)
	}
	second := o.peer("second", false)
	time.Sleep(2 * time.Second) // how long a list is used
	o.set(func() { o.peers, o.hosts = append(o.peers, second.Peer), []string{"c.test"} })
	o.until("a question, and its answer", func() bool { return len(second.hosts()) > 0 && o.waiting() != nil })
	if w := o.waiting(); w == nil || w.Count != 1 || w.Peers[0].Address != second.Address || !strings.Contains(w.Peers[0].Error, "308") {
		t.Errorf("the wait is told as %+v", w)
	}
	if n := o.ordered(); n != 2 {
		t.Errorf("%d orders, want 2 before the new one answers", n)
	}
	if !o.hasToken() {
		t.Error("no token is in the store while a serai is asked for it")
	}
	second.mu.Lock()
	second.on = true
	second.mu.Unlock()
	o.until("the third order", func() bool { return o.ordered() == 3 })
	o.until("the token to be removed", func() bool { return !o.hasToken() })
	if o.waiting() != nil {
		t.Error("a wait is told that is over")
	}
}

// TestPeersThatAreNotKnown delay orders for a while, with the reason.
func TestPeersThatAreNotKnown(t *testing.T) {
	o := newOrdering(t, time.Second, "a.test")
	o.err = errors.New("no answer from Nomad")
	o.lead()
	o.until("the problem", func() bool { w := o.waiting(); return w != nil && w.Problem == "no answer from Nomad" })
	if n := o.ordered(); n != 0 {
		t.Errorf("%d orders before the time was up", n)
	}
	o.until("the order", func() bool { return o.ordered() == 1 })
}

// TestAHostThatGoesEndsTheWait: no serai is given up for not answering for a host that
// is no longer wanted.
func TestAHostThatGoesEndsTheWait(t *testing.T) {
	o := newOrdering(t, 2*time.Second, "a.test")
	p := o.peer("only", false)
	o.peers = []acme.Peer{p.Peer}
	o.lead()
	o.until("a question", func() bool { return len(p.hosts()) > 0 })
	o.set(func() { o.hosts = nil })
	o.until("the end of the wait", func() bool { return o.waiting() == nil })
	if n := o.ordered(); n != 0 {
		t.Errorf("%d orders of a host that nobody wants", n)
	}
	o.set(func() { o.hosts = []string{"b.test"} })
	o.until("a question for the other host", func() bool { return slices.Contains(p.hosts(), "b.test") })
}

// TestWhatExpiresEndsTheWait: a certificate that expires soon, of another host than the
// one being ordered, does not have to wait.
func TestWhatExpiresEndsTheWait(t *testing.T) {
	o := newOrdering(t, time.Hour, "a.test", "b.test")
	o.peers = []acme.Peer{o.peer("only", false).Peer}
	soon := items(t, "b.test", time.Now().Add(-time.Hour), time.Now().Add(10*time.Second))
	soon["ca"] = "own.test-dir"
	if _, err := o.store.Put(t.Context(), certstore.Path("tls", "certs", soon["ca"], "b.test"), soon, 0); err != nil {
		t.Fatal(err)
	}
	o.lead()
	began := time.Now()
	o.until("the orders", func() bool { return o.ordered() == 2 })
	t.Logf("after %v", time.Since(began).Round(time.Millisecond))
}

// TestASeraiThatLeavesIsAwaited: one with old flags is deregistered when it begins to
// drain, and still forwards validations. Nothing is ordered before it has ended.
func TestASeraiThatLeavesIsAwaited(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, time.Minute, "a.test")
	fresh, old := o.peer("new", true), o.peer("old", false)
	o.set(func() { o.peers = []acme.Peer{fresh.Peer, old.Peer} })
	o.lead()
	o.until("the wait for the old one", func() bool { w := o.waiting(); return w != nil && w.Count == 1 })
	o.set(func() { o.peers = []acme.Peer{fresh.Peer} })
	o.until("the wait to tell that it drains", func() bool {
		w := o.waiting()
		return w != nil && len(w.Peers) == 1 && strings.Contains(w.Peers[0].Error, "is not registered any more, but answers 308")
	})
	if n := o.ordered(); n != 0 {
		t.Errorf("%d orders were begun while the old one serves", n)
	}
	old.server.Close()
	o.until("the wait to tell that nobody is there", func() bool {
		w := o.waiting()
		return w != nil && len(w.Peers) == 1 && strings.Contains(w.Peers[0].Error, "refused")
	})
	o.until("the order", func() bool { return o.ordered() == 1 })
}

// TestASeraiThatIsReplacedIsNotAwaited: the next one at its address answers for it.
func TestASeraiThatIsReplacedIsNotAwaited(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, time.Minute, "a.test")
	old := o.peer("old", false)
	o.set(func() { o.peers = []acme.Peer{old.Peer} })
	o.lead()
	o.until("the wait for the old one", func() bool { w := o.waiting(); return w != nil && w.Count == 1 })
	old.mu.Lock()
	old.on = true
	old.mu.Unlock()
	o.set(func() { o.peers = []acme.Peer{{ID: "new", Address: old.Address}} })
	o.until("the order", func() bool { return o.ordered() == 1 })
}
