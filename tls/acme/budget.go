package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"serai/tls/certstore"
)

// cause is why an order does not begin.
type cause string

// The causes.
const (
	causeOrders                cause = "orders"
	causeNamespaceOrders       cause = "namespace-orders"
	causeDomain                cause = "domain"
	causeNamespaceDomain       cause = "namespace-domain"
	causeCertificates          cause = "certificates"
	causeNamespaceCertificates cause = "namespace-certificates"
	causePaused                cause = "rate-limited"
	causeBusy                  cause = "ca-busy"
)

// forAll reports whether all similar orders of the namespace wait as well.
func (c cause) forAll() bool { return c != causeDomain && c != causeNamespaceDomain }

// held says why an order does not begin, and until when; a zero time when only the
// operator or the tenant can change that.
type held struct {
	cause cause
	why   string
	until time.Time
}

// budget is what is left of the CA's limits. It is in the store, so that the next
// leader knows what this one has used.
type budget struct {
	limits Limits

	mu      sync.Mutex
	state   budgetState
	holds   map[string]int // certificates by namespace, including those in order
	total   int            // certificates of all namespaces
	several bool           // several namespaces want certificates
	version uint64         // of the record
	dirty   bool
}

// budgetState is the stored part of a budget.
type budgetState struct {
	Orders     time.Time            `json:"orders,omitzero"`
	Namespaces map[string]time.Time `json:"namespaces,omitempty"` // orders
	Domains    map[string]time.Time `json:"domains,omitempty"`
	// DomainShares are by namespace and domain.
	DomainShares map[string]time.Time `json:"domain_shares,omitempty"`
}

func newBudget(l Limits) *budget { return &budget{limits: l, state: newBudgetState()} }

func newBudgetState() budgetState {
	return budgetState{Namespaces: make(map[string]time.Time), Domains: make(map[string]time.Time), DomainShares: make(map[string]time.Time)}
}

// share returns the share of one namespace.
func (b *budget) share() float64 {
	if !b.several || b.limits.NamespaceShare == 0 {
		return 1
	}
	return b.limits.NamespaceShare
}

// know sets how many certificates there are, and whether several namespaces want some.
func (b *budget) know(holds map[string]int, total int, several bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds, b.total, b.several = holds, total, several
}

// take takes what an order may cost at most, or says why the order has to wait.
func (b *budget) take(t *task, now time.Time) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.class != classAsked {
		if h := b.refuse(t, now); h != nil {
			return h
		}
	}
	b.spend(t, t.cost, 1, now)
	if !t.replaces {
		b.total++
		b.holds[t.Namespace]++
	}
	return nil
}

// refuse says why an order has to wait; nil when it need not.
func (b *budget) refuse(t *task, now time.Time) *held {
	l, share := b.limits, b.share()
	if t.replaces {
		if at := l.orders().at(spent(b.state.Orders), t.charge(t.cost), 0, now); at.After(now) {
			return &held{causeOrders, fmt.Sprintf("the CA permits %d orders in 3 hours (--acme-max-orders)", l.Orders), at}
		}
		return nil
	}
	most := limit{most: l.Certificates}
	part := most.part(share, 1).most
	switch {
	case most.most > 0 && b.total >= most.most:
		return &held{cause: causeCertificates, why: fmt.Sprintf("there are %d certificates (--acme-max-certificates)", b.total)}
	case most.most > 0 && b.holds[t.Namespace] >= part:
		return &held{cause: causeNamespaceCertificates, why: fmt.Sprintf("namespace %s has %d certificates, its share of --acme-max-certificates (--acme-namespace-share)", t.Namespace, b.holds[t.Namespace])}
	}
	domain := registered(t.Name)
	all, own := l.domain(), l.domain().part(share, 1)
	if at := all.at(spent(b.state.Domains[domain]), 1, 0, now); at.After(now) {
		return &held{causeDomain, fmt.Sprintf("the CA permits %d new certificates of %s in 7 days (--acme-max-domain)", l.Domain, domain), at}
	}
	if at := own.at(spent(b.state.DomainShares[t.Namespace+" "+domain]), 1, 0, now); at.After(now) {
		return &held{causeNamespaceDomain, fmt.Sprintf("of the CA's limit, %d new certificates of %s in 7 days are the share of namespace %s (--acme-namespace-share)", own.most, domain, t.Namespace), at}
	}
	all, own = l.orders(), l.orders().part(share, t.cost)
	if at := all.at(spent(b.state.Orders), t.cost, l.keptForRenewals(), now); at.After(now) {
		return &held{causeOrders, fmt.Sprintf("the CA permits %d orders in 3 hours, %d of them are reserved for renewals (--acme-max-orders)", l.Orders, l.keptForRenewals()), at}
	}
	if at := own.at(spent(b.state.Namespaces[t.Namespace]), t.cost, 0, now); at.After(now) {
		return &held{causeNamespaceOrders, fmt.Sprintf("of the CA's limit, %d orders in 3 hours are the share of namespace %s (--acme-namespace-share)", own.most, t.Namespace), at}
	}
	return nil
}

// spend takes orders and certificates; negative numbers are given back.
func (b *budget) spend(t *task, orders, certificates int, now time.Time) {
	l, share, domain := b.limits, b.share(), registered(t.Name)
	orders = t.charge(orders)
	b.state.Orders = time.Time(l.orders().take(spent(b.state.Orders), orders, now))
	if !t.replaces {
		key := t.Namespace + " " + domain
		b.state.Namespaces[t.Namespace] = time.Time(l.orders().part(share, t.cost).take(spent(b.state.Namespaces[t.Namespace]), orders, now))
		b.state.Domains[domain] = time.Time(l.domain().take(spent(b.state.Domains[domain]), certificates, now))
		b.state.DomainShares[key] = time.Time(l.domain().part(share, 1).take(spent(b.state.DomainShares[key]), certificates, now))
	}
	b.dirty = true
}

// settle gives back what an order did not use: it made so many orders at the CA, and
// brought a certificate or none.
func (b *budget) settle(t *task, orders int, issued bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	certificates := -1
	if issued {
		certificates = 0
	}
	b.spend(t, orders-t.cost, certificates, now)
	if !t.replaces && !issued {
		b.total--
		b.holds[t.Namespace]--
	}
}

// budgetPath is where the budget is stored.
var budgetPath = certstore.Path("budget")

// maxBudget bounds the stored budget in bytes: Nomad accepts 64 KiB.
const maxBudget = 48 << 10

// load adds what earlier leaders have used.
func (b *budget) load(ctx context.Context, store certstore.Store) error {
	r, err := store.Get(ctx, budgetPath)
	if errors.Is(err, certstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	theirs := newBudgetState()
	if err := json.Unmarshal([]byte(r.Items["state"]), &theirs); err != nil {
		theirs = newBudgetState() // the record will be replaced
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.version = r.Version
	o, d := b.limits.orders(), b.limits.domain()
	b.state.Orders = latest(b.state.Orders, time.Time(o.believed(spent(theirs.Orders), now)))
	merge := func(into, from map[string]time.Time, l limit) {
		for k, at := range from {
			into[k] = latest(into[k], time.Time(l.believed(spent(at), now)))
		}
	}
	merge(b.state.Namespaces, theirs.Namespaces, o)
	merge(b.state.Domains, theirs.Domains, d)
	merge(b.state.DomainShares, theirs.DomainShares, d)
	return nil
}

// save writes what was used since the last write.
func (b *budget) save(ctx context.Context, store certstore.Store) error {
	b.mu.Lock()
	if !b.dirty {
		b.mu.Unlock()
		return nil
	}
	b.prune(time.Now())
	text, err := json.Marshal(b.state)
	version := b.version
	b.dirty = false
	b.mu.Unlock()
	if err == nil {
		version, err = store.Put(ctx, budgetPath, map[string]string{"state": string(text)}, version)
	}
	if errors.Is(err, certstore.ErrConflict) {
		err = errors.Join(err, b.load(ctx, store))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.dirty = true
		return err
	}
	b.version = version
	return nil
}

// prune forgets entries that are given back, and if there are too many, those that soon
// will be.
func (b *budget) prune(now time.Time) {
	all := []map[string]time.Time{b.state.Namespaces, b.state.Domains, b.state.DomainShares}
	type entry struct {
		in  map[string]time.Time
		key string
	}
	var entries []entry
	size := 0
	for _, m := range all {
		for k, at := range m {
			if !at.After(now) {
				delete(m, k)
				continue
			}
			entries = append(entries, entry{m, k})
			size += len(k) + 48
		}
	}
	if size <= maxBudget {
		return
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.in[a.key].Compare(b.in[b.key]) })
	for _, e := range entries {
		if size <= maxBudget {
			return
		}
		size -= len(e.key) + 48
		delete(e.in, e.key)
	}
}
