package router

import (
	"cmp"
	"errors"
	"math"

	"serai/discovery"
)

// A table takes memory and time that all namespaces share. So the claims of a service,
// of a namespace and of all together are limited. Claims over a quota are refused, the
// newest first: what works continues to work.

// Limits bound one kind of thing. Zero means the default.
type Limits struct{ Service, Namespace, Total int }

// Quotas are the limits of a table. Claims of the operator's file are not counted.
type Quotas struct {
	// Claims are pairs of host and path, Conditions their other requirements on a
	// request.
	Claims, Conditions Limits
	// Lingering are claims without instances that wait for the next one.
	Lingering Limits
}

// By default one namespace fills at most a tenth of the memory of a small job: a claim
// takes about a kilobyte.
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

// scope says whose quota is exceeded.
type scope int

const (
	ofService scope = iota
	ofNamespace
	ofAll
)

func (s scope) String() string { return [...]string{"service", "namespace", "total"}[s] }

func (l Limits) of(s scope) int { return [...]int{l.Service, l.Namespace, l.Total}[s] }

// usage is how much of the quotas something uses. Asked is what it would use if only
// the quota of its service applied.
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

// allowance is how much of one thing a service may use, and whose quota limits it.
type allowance struct {
	n    int
	of   scope
	user string // who uses most of it
}

// allowances are the allowances of one service.
type allowances struct{ claims, conditions allowance }

// room returns what others leave of a quota for a service.
func room(l Limits, namespace, total int) allowance {
	left := allowance{n: l.Namespace - namespace, of: ofNamespace}
	if all := l.Total - total; all < left.n {
		left = allowance{n: all, of: ofAll}
	}
	left.n = max(left.n, 0)
	return left
}

// allowed returns what a service may use: what it was allotted, or what is left. While
// allowances are being applied, a service without one gets all that it asks for.
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

// account records what a service uses now, nothing when it is gone.
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

// Usage is how much of one quota is used.
type Usage struct {
	// Quota is what is limited: claims, conditions or lingering.
	Quota string
	Used  int
	// Fullest is the largest share of its quota that a namespace uses.
	Fullest float64
	Limits  Limits
	// Refused counts, since the start, the routes that did not linger; for other quotas
	// see the rejections.
	Refused uint64
}

// Usage returns how much of the quotas the current table uses.
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
