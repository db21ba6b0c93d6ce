package acme

import (
	"context"
	"sync"
	"time"

	"serai/tls"
)

// leader is what only the serai knows that orders.
type leader struct {
	*Issuer
	mu       sync.Mutex
	busy     map[string]bool        // hosts with an order under way
	asked    map[string]request     // renewals that were asked for, by host
	answered map[string]uint64      // versions of requests that were, by path
	obtained map[string]time.Time   // when hosts got their certificates
	later    map[string]time.Time   // failures that are not in the store
	advice   map[string]*suggestion // of the CA, by host
	paused   time.Time              // until when the CA wants no order at all
	slots    chan struct{}          // one for each order under way
	peers    peers
	running  sync.WaitGroup
}

// lead orders what is missing or due until ctx ends.
func (i *Issuer) lead(ctx context.Context) {
	l := &leader{
		Issuer: i, busy: make(map[string]bool), asked: make(map[string]request), answered: make(map[string]uint64),
		obtained: make(map[string]time.Time), later: make(map[string]time.Time), advice: make(map[string]*suggestion), slots: make(chan struct{}, i.options.Workers),
	}
	defer i.forgetRenewals()
	defer l.running.Wait()
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
			// Changes come in crowds: looking takes at most a tenth of a core.
			pause(ctx, min(max(50*time.Millisecond, 10*took), 2*time.Second))
		case <-time.After(time.Until(next)):
		}
	}
}

// walk begins the orders that are due, while there is room, and returns when to
// look again at the latest.
func (l *leader) walk(ctx context.Context) (next time.Time) {
	next = time.Now().Add(time.Minute)
	hosts := l.options.wanted()
	for _, host := range append(l.askedAmong(hosts), hosts...) { // who asks comes first
		if ctx.Err() != nil {
			return next
		}
		at, reason := l.due(host)
		if wait := time.Until(at); wait > 0 {
			if at.Before(next) {
				next = at
			}
			continue
		}
		if !l.begin(host) {
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			l.end(host)
			return next // an order that ends wakes us
		}
		l.running.Go(func() {
			defer func() { <-l.slots; l.end(host); l.look() }()
			l.order(ctx, host, reason)
		})
	}
	return next
}

// begin marks an order, unless there is one.
func (l *leader) begin(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[host] {
		return false
	}
	l.busy[host] = true
	return true
}

func (l *leader) end(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, host)
}

// certOf returns what is known of a host's certificate of our CA, nil for
// nothing.
func (i *Issuer) certOf(host string) *entry { return i.mirror.at(certPath(i.engine.ca, host)) }

// due returns when a certificate for the host should be ordered, and why.
func (l *leader) due(host string) (time.Time, string) {
	l.mu.Lock()
	_, asked := l.asked[host]
	obtained, later, paused := l.obtained[host], l.later[host], l.paused
	l.mu.Unlock()
	at, reason, rest := time.Time{}, "the host has none", shortRest
	switch e := l.certOf(host); {
	case e == nil:
	case e.sealed:
		// Others have the key, and would be overwritten by who does not.
		return time.Now().Add(time.Hour), "the one in the store is sealed"
	case asked:
	case e.problem != "":
		reason = "the one in the store cannot be used"
	case e.cert != nil:
		at, reason = l.renewal(host, e.cert)
		rest = min(longRest, life(e.cert)/10)
	}
	if asked {
		return time.Time{}, "it was asked for by serai certs renew"
	}
	if f := l.mirror.failureOf(host); f != nil && f.Next.After(at) {
		at = f.Next
	}
	if !obtained.IsZero() {
		later = latest(later, obtained.Add(rest))
	}
	return latest(at, later, paused), reason
}

// The least time between two certificates of a host: no clock that is wrong, no
// CA that suggests renewals all the time, and nobody who breaks what is in the
// store makes more orders than that. Certificates of hours and minutes rest
// for a tenth of their life.
const (
	shortRest = 10 * time.Second // where the last one is gone
	longRest  = time.Hour
)

func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// renewal returns when a certificate should be renewed: when the CA suggests,
// or else when a third of its life is left; and never with less than a
// twentieth.
func (l *leader) renewal(host string, c *tls.Certificate) (time.Time, string) {
	l.mu.Lock()
	s := l.advice[host]
	l.mu.Unlock()
	if s == nil || s.serial != c.Leaf.SerialNumber.String() || s.renew.IsZero() {
		return usualRenewal(c), "less than a third of its life is left"
	}
	if last := c.Leaf.NotAfter.Add(-life(c) / 20); s.renew.After(last) {
		return last, "it expires soon"
	}
	return s.renew, "the CA suggests it (RFC 9773)"
}

func life(c *tls.Certificate) time.Duration { return c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) }

// usualRenewal is when a third of a certificate's life is left.
func usualRenewal(c *tls.Certificate) time.Time { return c.Leaf.NotAfter.Add(-life(c) / 3) }
