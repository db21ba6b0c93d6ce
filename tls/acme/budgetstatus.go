package acme

import (
	"maps"
	"slices"
	"time"
)

// Budget is what is left of the limits, as the serai that orders knows it.
type Budget struct {
	// Orders are the orders that the account may make, Reserved how many of them are
	// reserved for renewals.
	Orders   Allowance `json:"orders"`
	Reserved int       `json:"reserved_for_renewals"`
	// Certificates are the certificates that the store may hold.
	Certificates Allowance `json:"certificates"`
	// Domains are the registered domains for which new certificates were ordered.
	Domains []DomainBudget `json:"domains"`
	// Namespaces are the namespaces whose hosts want certificates, sorted.
	Namespaces []NamespaceBudget `json:"namespaces"`
	// Held counts the hosts whose orders wait for a limit, by cause.
	Held map[string]int `json:"held"`
}

// Allowance is what is left of one limit. Limit is 0 when there is none.
type Allowance struct {
	Limit  int    `json:"limit"`
	Left   int    `json:"left"`
	Window string `json:"window,omitempty"`
}

// DomainBudget is what is left for a registered domain.
type DomainBudget struct {
	Domain string `json:"domain"`
	Allowance
}

// NamespaceBudget is what a namespace has and may use.
type NamespaceBudget struct {
	Namespace string `json:"namespace"`
	// Orders are the orders for hosts that have no certificate.
	Orders Allowance `json:"orders"`
	// Certificates are the namespace's certificates, UnderWay the orders in progress,
	// and Held the hosts whose orders wait for a limit.
	Certificates int `json:"certificates"`
	UnderWay     int `json:"under_way"`
	Held         int `json:"held"`
}

// shownAtMost bounds lists of things that tenants can create.
const shownAtMost = 200

// snapshot returns the budget as it is shown.
func (b *budget) snapshot(now time.Time) *Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.limits
	s := &Budget{
		Orders:       Allowance{Limit: l.Orders, Left: l.orders().left(spent(b.state.Orders), now), Window: "3h"},
		Reserved:     l.keptForRenewals(),
		Certificates: Allowance{Limit: l.Certificates, Left: max(l.Certificates-b.total, 0)},
		Domains:      []DomainBudget{}, Namespaces: []NamespaceBudget{},
	}
	for _, domain := range slices.Sorted(maps.Keys(b.state.Domains)) {
		if left := l.domain().left(spent(b.state.Domains[domain]), now); left < l.Domain && len(s.Domains) < shownAtMost {
			s.Domains = append(s.Domains, DomainBudget{Domain: domain, Allowance: Allowance{Limit: l.Domain, Left: left, Window: "7d"}})
		}
	}
	return s
}

// namespace returns the budget of a namespace as it is shown.
func (b *budget) namespace(name string, now time.Time) *NamespaceBudget {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.limits.orders().part(b.share(), 1)
	return &NamespaceBudget{
		Namespace:    name,
		Orders:       Allowance{Limit: l.most, Left: l.left(spent(b.state.Namespaces[name]), now), Window: "3h"},
		Certificates: b.holds[name],
	}
}
