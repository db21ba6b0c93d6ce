package acme

import (
	"context"
	"sync"
	"time"

	"serai/internal/sleep"
	"serai/tls"
)

// leader is the state of the serai that orders.
type leader struct {
	*Issuer
	budget *budget
	turns  turns
	room   room

	mu          sync.Mutex
	busy        map[string]*task       // orders in progress, by host
	asked       map[string]request     // requested renewals, by host
	answered    map[string]uint64      // versions of answered requests, by path
	obtained    map[string]time.Time   // when hosts got their certificates
	suggestions map[string]*suggestion // of the CA, by host
	paused      map[string]time.Time   // until when the CA accepts no order of a namespace
	ca          busyCA
	peers       peers
	running     sync.WaitGroup
}

// lead orders what is missing or due, until ctx ends.
func (i *Issuer) lead(ctx context.Context) {
	l := &leader{
		Issuer: i, budget: newBudget(i.options.Limits), room: newRoom(i.options.Workers), turns: turns{of: make(map[string]uint64)},
		busy: make(map[string]*task), asked: make(map[string]request), answered: make(map[string]uint64), obtained: make(map[string]time.Time),
		suggestions: make(map[string]*suggestion), paused: make(map[string]time.Time),
	}
	defer i.plan.Store(nil)
	defer i.forget()
	defer l.running.Wait()
	l.loadBudget(ctx)
	l.running.Go(func() { l.keepBudget(ctx) })
	l.running.Go(func() { l.followRequests(ctx) })
	l.running.Go(func() { l.askCA(ctx) })
	l.running.Go(func() { l.tidy(ctx) })
	for ctx.Err() == nil {
		began := time.Now()
		next := l.walk(ctx)
		took := time.Since(began)
		select {
		case <-ctx.Done():
		case <-i.wake:
			// Changes come in groups: the leader uses at most a tenth of a core.
			sleep.For(ctx, min(max(50*time.Millisecond, 10*took), 2*time.Second))
		case <-time.After(time.Until(next)):
		}
	}
}

// walk begins the orders that are due, as many as there is room for, and returns when
// to walk again at the latest. The end of an order also starts a walk.
func (l *leader) walk(ctx context.Context) (next time.Time) {
	now := time.Now()
	next = now.Add(time.Minute)
	hosts := l.options.wanted()
	l.turns.keep(hosts)
	l.countCertificates(hosts)
	var due []*task
	for _, h := range hosts {
		t := l.due(h)
		switch {
		case t.at.After(now):
			next = earliest(next, t.at)
		case !l.isBusy(h.Name):
			due = append(due, t)
		}
	}
	waits := make(map[string]*held)
	q := newQueue(&l.turns, due)
	for ctx.Err() == nil {
		t := q.next(l.hasRoom)
		if t == nil {
			break
		}
		h := l.hold(t, now)
		if h == nil {
			l.turns.took(t.Host)
			l.begin(ctx, t)
			continue
		}
		waits[t.Name] = h
		if h.until.After(now) {
			next = earliest(next, h.until)
		}
		if h.cause.forAll() {
			for _, other := range q.drop(t) {
				waits[other.Name] = h
			}
		}
	}
	l.showPlan(hosts, waits)
	return next
}

// hold takes what an order needs of the limits, or says why it has to wait.
func (l *leader) hold(t *task, now time.Time) *held {
	l.mu.Lock()
	until, rests := l.paused[t.Namespace], l.ca.until
	l.mu.Unlock()
	switch {
	case t.class == classAsked:
	case until.After(now):
		return &held{causePaused, "the CA accepts no more orders of namespace " + t.Namespace + " for now", until}
	case rests.After(now):
		return &held{causeBusy, "the CA is busy, or does not answer as one", rests}
	}
	return l.budget.take(t, now)
}

// hasRoom reports whether one more order may be in progress.
func (l *leader) hasRoom(c class, namespace string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room.has(l.busy, c, namespace)
}

func (l *leader) isBusy(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy[host] != nil
}

// begin begins an order.
func (l *leader) begin(ctx context.Context, t *task) {
	l.mu.Lock()
	l.busy[t.Name] = t
	l.mu.Unlock()
	l.running.Go(func() {
		orders, issued := l.order(ctx, t)
		l.budget.settle(t, orders, issued, time.Now())
		l.mu.Lock()
		delete(l.busy, t.Name)
		l.mu.Unlock()
		l.tokens.forget(t.Name)
		l.look()
	})
}

// certOf returns the entry of a host's certificate from our CA, nil for none.
func (i *Issuer) certOf(host string) *entry { return i.mirror.at(certPath(i.engine.ca, host)) }

// due returns the order that a host needs next, and when it is due: when its certificate
// says so, but after a failure not before the next try, and not right after the last
// certificate. What an operator requests waits for none of this.
func (l *leader) due(h Host) *task {
	l.mu.Lock()
	_, asked := l.asked[h.Name]
	obtained := l.obtained[h.Name]
	l.mu.Unlock()
	e, failure := l.certOf(h.Name), l.failureOf(h.Name)
	t := &task{Host: h, class: classFirst, reason: "the host has none", cost: l.engine.kinds}
	rest := shortRest
	switch {
	case e == nil:
	case e.sealed:
		// Other serai have the key, and this one would overwrite their certificate.
		t.at, t.reason = time.Now().Add(time.Hour), "the one in the store is encrypted with another key"
		return t
	case e.problem != "":
		t.reason = "the one in the store cannot be used"
	case e.cert != nil:
		t.at, t.reason = l.renewal(h.Name, e.cert)
		rest = restAfter(e.cert, obtained)
	}
	if e != nil && e.cert != nil { // with a problem, the one from before is served
		t.class, t.replaces = classRenewal, true
		t.named = !l.suggested(h.Name, e.cert).IsZero() && !failure.unnamed()
	}
	if asked {
		t.class, t.at, t.reason = classAsked, time.Time{}, "serai certs renew requested it"
		return t
	}
	if retry := failure.again(time.Now()); retry.After(t.at) {
		t.class, t.at = classRetry, retry
	}
	if !obtained.IsZero() {
		t.at = latest(t.at, obtained.Add(rest))
	}
	return t
}

// The least time between two certificates of a host: neither a wrong clock, nor a CA
// that suggests renewals all the time, nor somebody who damages the store can cause
// more orders. For certificates of hours and minutes it is a tenth of their lifetime.
const (
	shortRest = 10 * time.Second // when the last one is gone
	longRest  = time.Hour
)

// restAfter is how long a certificate that was obtained at a time is left alone.
func restAfter(c *tls.Certificate, obtained time.Time) time.Duration {
	if life(c) <= 0 || !c.Leaf.NotAfter.After(obtained) {
		return longRest // it came expired, and so may the next one
	}
	return min(longRest, life(c)/10)
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// renewal returns when a certificate should be renewed: when the CA suggests, otherwise
// when a third of its lifetime is left; and never with less than a twentieth.
func (l *leader) renewal(host string, c *tls.Certificate) (time.Time, string) {
	at := l.suggested(host, c)
	if at.IsZero() {
		return usualRenewal(c), "less than a third of its life is left"
	}
	if last := c.Leaf.NotAfter.Add(-life(c) / 20); at.After(last) {
		return last, "it expires soon"
	}
	return at, "the CA suggests it (RFC 9773)"
}

// suggested returns when the CA suggests to renew a certificate; zero when it does not
// say.
func (l *leader) suggested(host string, c *tls.Certificate) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.suggestions[host]; s != nil && s.serial == c.Leaf.SerialNumber.String() {
		return s.renew
	}
	return time.Time{}
}

func life(c *tls.Certificate) time.Duration { return c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) }

// usualRenewal is when a third of a certificate's lifetime is left.
func usualRenewal(c *tls.Certificate) time.Time { return c.Leaf.NotAfter.Add(-life(c) / 3) }
