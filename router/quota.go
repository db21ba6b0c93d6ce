package router

import (
	"cmp"
	"errors"
	"math"

	"serai/discovery"
	"serai/internal/quota"
)

// A table takes memory and time that all namespaces share. So what a service, a
// namespace and all together may have of it is limited. Claims and instances over a quota
// are refused, the newest first: what works continues to work.

// Limits bound one kind of thing. Zero means the default.
type Limits struct{ Service, Namespace, Total int }

// NoLimit is a limit that nothing reaches.
const NoLimit = math.MaxInt / 2

// Quotas are the limits of a table. Claims of the operator's file are not counted.
type Quotas struct {
	// Claims are pairs of host and path, Conditions their other requirements on a
	// request.
	Claims, Conditions Limits
	// Memory is the bytes that claims, instances and rejections take, as far as they are
	// estimated: see memory.go. By default there is no limit of the total; the other
	// two are a half and a quarter of it.
	Memory Limits
	// Lingering are claims without instances that wait for the next one. They take up to
	// a quarter of each quota of Memory besides.
	Lingering Limits
}

// What the numbers of claims do not bound, such as instances, the quota of memory does.
var (
	defaultClaims     = Limits{1000, 10_000, 100_000}
	defaultConditions = Limits{500, 5000, 50_000}
	defaultLingering  = Limits{1000, 5000, 25_000}
)

func (q *Quotas) setDefaults() {
	memory := Limits{NoLimit, NoLimit, NoLimit}
	if total := q.Memory.Total; total > 0 {
		memory = Limits{total / 4, total / 2, total}
	}
	for _, l := range []struct{ set, otherwise *Limits }{{&q.Claims, &defaultClaims}, {&q.Conditions, &defaultConditions}, {&q.Memory, &memory}, {&q.Lingering, &defaultLingering}} {
		l.set.Service = cmp.Or(l.set.Service, l.otherwise.Service)
		l.set.Namespace = cmp.Or(l.set.Namespace, l.otherwise.Namespace)
		l.set.Total = cmp.Or(l.set.Total, l.otherwise.Total)
	}
}

func (q *Quotas) validate() error {
	for _, l := range []Limits{q.Claims, q.Conditions, q.Memory, q.Lingering} {
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

// resource is what a quota limits besides what lingers.
type resource int

const (
	claims resource = iota
	conditions
	memory
	resources // how many there are
)

// String is the resource as the flags and rejections write it.
func (r resource) String() string {
	return [resources]string{"claims", "conditions", "table-memory"}[r]
}

// limits returns the limits of a resource.
func (q *Quotas) limits(r resource) Limits {
	return [resources]Limits{q.Claims, q.Conditions, q.Memory}[r]
}

// amount is how much of each resource something needs.
type amount [resources]int

// add adds another amount, or with -1 subtracts it.
func (a *amount) add(o amount, sign int) {
	for r, n := range o {
		a[r] += sign * n
	}
}

// usage is how much of the quotas something uses. Asked is what it would use if only
// the quota of its service applied.
type usage struct {
	got, asked      amount
	lingering       int // claims
	lingeringMemory int
}

func (u *usage) add(o usage, sign int) {
	u.got.add(o.got, sign)
	u.asked.add(o.asked, sign)
	u.lingering += sign * o.lingering
	u.lingeringMemory += sign * o.lingeringMemory
}

// allowance is how much of one resource a service may use, and whose quota limits it.
type allowance struct {
	n    int
	of   scope
	user string // who uses most of it
}

// allowances are the allowances of one service.
type allowances [resources]allowance

// spare is the part of the total that is for namespaces with little.
func (l Limits) spare() int { return quota.Spare(l.Total, l.Namespace) }

// room returns what others leave of a quota for a service.
func room(l Limits, namespace, total int) allowance {
	left := allowance{n: l.Namespace - namespace, of: ofNamespace}
	if all := quota.Open(l.Total, l.spare(), total, namespace); all < left.n {
		left = allowance{n: all, of: ofAll}
	}
	left.n = max(left.n, 0)
	return left
}

// allowed returns what a service may use: what it was allotted, or what is left. While
// allowances are being applied, a service without one gets what it has asked for, which
// was counted on.
func (b *Builder) allowed(key discovery.Key) (all allowances) {
	if a, ok := b.allowances[key]; ok {
		return a
	}
	if b.allotting {
		for r, n := range b.services[key].usage.asked {
			all[r].n = n
		}
		return all
	}
	namespace, total, own := b.used[key.Namespace], b.usedByAll, b.counted[key]
	for r := range resources {
		all[r] = room(b.options.Quotas.limits(r), namespace.got[r]-own.got[r], total.got[r]-own.got[r])
	}
	return all
}

// account records what a service uses now, nothing when it is gone.
func (b *Builder) account(key discovery.Key) {
	var now usage
	if s := b.services[key]; s != nil {
		now = s.usage
		now.lingering, now.lingeringMemory = lingering(s.routes)
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

// Usage is how much of one quota is used.
type Usage struct {
	// Quota is what is limited: claims, conditions, table-memory (in bytes) or lingering.
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
		{Quota: claims.String(), Used: b.usedByAll.got[claims], Limits: q.Claims},
		{Quota: conditions.String(), Used: b.usedByAll.got[conditions], Limits: q.Conditions},
		{Quota: "lingering", Used: b.usedByAll.lingering, Limits: q.Lingering, Refused: b.unlingered},
		{Quota: memory.String(), Used: b.usedByAll.got[memory] + b.usedByAll.lingeringMemory, Limits: q.Memory},
	}
	for _, u := range b.used {
		for i, n := range []int{u.got[claims], u.got[conditions], u.lingering, u.got[memory]} {
			all[i].Fullest = math.Max(all[i].Fullest, float64(n)/float64(all[i].Limits.Namespace))
		}
	}
	return all
}
