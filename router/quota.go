package router

import (
	"cmp"
	"errors"
	"math"

	"serai/discovery"
)

// A table is memory and time that all namespaces need. So what a service, a
// namespace and all of them together may claim is bounded. What is over a quota is
// refused, the newest first: what works goes on.

// Limits bound one thing. Zero means the default.
type Limits struct{ Service, Namespace, Total int }

// Quotas are the limits of a table. What comes from the operator's file is not
// counted.
type Quotas struct {
	// Claims are pairs of host and path, Conditions what they ask of a request
	// besides.
	Claims, Conditions Limits
	// Lingering are claims without instances that wait for the next one.
	Lingering Limits
}

// The defaults: a claim takes about a kilobyte, so that one namespace fills a tenth of
// the memory that a small job gives.
var (
	defaultClaims     = Limits{1000, 10_000, 100_000}
	defaultConditions = Limits{500, 5000, 50_000}
	defaultLingering  = Limits{1000, 5000, 25_000}
)

func (q *Quotas) setDefaults() {
	for _, l := range []struct{ set, otherwise *Limits }{{&q.Claims, &defaultClaims}, {&q.Conditions, &defaultConditions}, {&q.Lingering, &defaultLingering}} {
		l.set.Service = cmp.Or(l.set.Service, l.otherwise.Service)
		l.set.Namespace = cmp.Or(l.set.Namespace, l.otherwise.Namespace)
		l.set.Total = cmp.Or(l.set.Total, l.otherwise.Total)
	}
}

func (q *Quotas) validate() error {
	for _, l := range []Limits{q.Claims, q.Conditions, q.Lingering} {
		if l.Service < 0 || l.Namespace < 0 || l.Total < 0 {
			return errors.New("a quota is negative")
		}
	}
	return nil
}

// scope is whose quota something is over.
type scope int

const (
	ofService scope = iota
	ofNamespace
	ofAll
)

func (s scope) String() string { return [...]string{"service", "namespace", "total"}[s] }

func (l Limits) of(s scope) int { return [...]int{l.Service, l.Namespace, l.Total}[s] }

// usage is how much of the quotas something takes. Asked is what it would take if
// only the quota of its service bound it.
type usage struct {
	claims, conditions           int
	askedClaims, askedConditions int
	lingering                    int
}

func (u *usage) add(o usage, sign int) {
	u.claims += sign * o.claims
	u.conditions += sign * o.conditions
	u.askedClaims += sign * o.askedClaims
	u.askedConditions += sign * o.askedConditions
	u.lingering += sign * o.lingering
}

// allowance is what a service may take of one thing, and whose quota says so.
type allowance struct {
	n    int
	of   scope
	user string // who uses most of it
}

// allowances are those of a service.
type allowances struct{ claims, conditions allowance }

// room returns what is left of a quota for a service beside what others take.
func room(l Limits, namespace, total int) allowance {
	left := allowance{n: l.Namespace - namespace, of: ofNamespace}
	if all := l.Total - total; all < left.n {
		left = allowance{n: all, of: ofAll}
	}
	left.n = max(left.n, 0)
	return left
}

// allowed returns what a service may take: what it was given, or what is left. While
// parts are given out, who was given none has all that it asks for.
func (b *Builder) allowed(key discovery.Key) allowances {
	if a, ok := b.allowances[key]; ok {
		return a
	}
	if b.allotting {
		return allowances{allowance{n: math.MaxInt}, allowance{n: math.MaxInt}}
	}
	namespace, total, own := b.used[key.Namespace], b.usedByAll, b.counted[key]
	return allowances{
		room(b.options.Quotas.Claims, namespace.claims-own.claims, total.claims-own.claims),
		room(b.options.Quotas.Conditions, namespace.conditions-own.conditions, total.conditions-own.conditions),
	}
}

// account notes what a service takes now, nothing when it is gone.
func (b *Builder) account(key discovery.Key) {
	var now usage
	if s := b.services[key]; s != nil {
		now = s.usage
		for _, r := range s.routes {
			if r.Lingers() {
				now.lingering++
			}
		}
	}
	was := b.counted[key]
	if now == was {
		return
	}
	b.counted[key] = now
	if now == (usage{}) {
		delete(b.counted, key)
	}
	of := b.used[key.Namespace]
	for _, sum := range []*usage{&of, &b.usedByAll} {
		sum.add(was, -1)
		sum.add(now, 1)
	}
	b.used[key.Namespace] = of
	if of == (usage{}) {
		delete(b.used, key.Namespace)
	}
}

// mayLinger returns how many routes of a service may linger.
func (b *Builder) mayLinger(key discovery.Key) allowance {
	q := b.options.Quotas.Lingering
	own := b.counted[key].lingering
	left := room(q, b.used[key.Namespace].lingering-own, b.usedByAll.lingering-own)
	if q.Service < left.n {
		left = allowance{n: q.Service, of: ofService}
	}
	return left
}

// Usage is what is used of one quota.
type Usage struct {
	// Quota is what is bounded: claims, conditions or lingering.
	Quota string
	Used  int
	// Fullest is the largest share of its quota that a namespace has.
	Fullest float64
	Limits  Limits
	// Refused counts, since the start, what did not linger; for other quotas see
	// the rejections.
	Refused uint64
}

// Usage returns what the current table takes of the quotas.
func (t *Table) Usage() []Usage { return t.usage }

func (b *Builder) usageNow() []Usage {
	q := &b.options.Quotas
	all := []Usage{
		{Quota: "claims", Used: b.usedByAll.claims, Limits: q.Claims},
		{Quota: "conditions", Used: b.usedByAll.conditions, Limits: q.Conditions},
		{Quota: "lingering", Used: b.usedByAll.lingering, Limits: q.Lingering, Refused: b.unlingered},
	}
	for _, u := range b.used {
		for i, n := range []int{u.claims, u.conditions, u.lingering} {
			all[i].Fullest = math.Max(all[i].Fullest, float64(n)/float64(all[i].Limits.Namespace))
		}
	}
	return all
}
