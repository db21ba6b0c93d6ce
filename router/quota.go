package router

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

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

// over reports whether more is asked for than a quota has, in a namespace and in
// all together.
func (b *Builder) over(u usage, s scope) bool {
	return u.askedClaims > b.options.Quotas.Claims.of(s) || u.askedConditions > b.options.Quotas.Conditions.of(s)
}

// admit gives each service what it may take of the quotas, when somebody gets less
// than he asks for or has got less until now.
func (b *Builder) admit(u *update) {
	crowded := make(map[string]bool)
	all := b.over(b.usedByAll, ofAll)
	for namespace, used := range b.used {
		if all || b.over(used, ofNamespace) {
			crowded[namespace] = true
		}
	}
	sum := &b.usedByAll
	if len(crowded) == 0 && len(b.allowances) == 0 && sum.claims == sum.askedClaims && sum.conditions == sum.askedConditions {
		return
	}
	next := b.allot(crowded, all)
	var changed []discovery.Key
	for key := range b.services {
		if b.differs(key, next) {
			changed = append(changed, key)
		}
	}
	b.allowances = next
	slices.SortFunc(changed, func(x, y discovery.Key) int { return cmpStrings(x.Namespace, y.Namespace, x.Name, y.Name) })
	b.allotting = true
	for _, key := range changed {
		b.replace(u, key, b.services[key].source)
	}
	b.allotting = false
}

// differs reports whether a service has to be made anew.
func (b *Builder) differs(key discovery.Key, next map[discovery.Key]allowances) bool {
	s := b.services[key]
	had, is := b.allowances[key]
	gets, will := next[key]
	if will {
		return !is || had != gets
	}
	return is || s.usage.claims < s.usage.askedClaims || s.usage.conditions < s.usage.askedConditions
}

// allot goes through the services in the order in which they came. Who gets less
// than he asks for is in the result.
func (b *Builder) allot(crowded map[string]bool, all bool) map[discovery.Key]allowances {
	short := make(map[discovery.Key]allowances)
	var taken usage
	of := make(map[string]*usage)
	for namespace, used := range b.used {
		if !crowded[namespace] {
			taken.claims += used.askedClaims
			taken.conditions += used.askedConditions
		}
		of[namespace] = &usage{}
	}
	for _, key := range b.byArrival(crowded) {
		asks, has := b.services[key].usage, of[key.Namespace]
		a := allowances{
			room(b.options.Quotas.Claims, has.claims, taken.claims),
			room(b.options.Quotas.Conditions, has.conditions, taken.conditions),
		}
		gets := usage{claims: min(asks.askedClaims, a.claims.n), conditions: min(asks.askedConditions, a.conditions.n)}
		has.add(gets, 1)
		taken.add(gets, 1)
		if gets.claims < asks.askedClaims || gets.conditions < asks.askedConditions {
			a.claims.user, a.conditions.user = b.largest(key, a.claims.of), b.largest(key, a.conditions.of)
			short[key] = a
		}
	}
	return short
}

// byArrival returns the services of namespaces in the order in which they came:
// those that came too late as all nodes have agreed last, the others by age.
func (b *Builder) byArrival(of map[string]bool) (keys []discovery.Key) {
	for key, s := range b.services {
		if of[key.Namespace] && s.usage.askedClaims > 0 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(x, y discovery.Key) int {
		return cmp.Or(cmp.Compare(b.agreed.latePlace(x), b.agreed.latePlace(y)), cmp.Compare(b.services[x].age, b.services[y].age),
			cmpStrings(x.Namespace, y.Namespace, x.Name, y.Name))
	})
	return keys
}

// largest names who uses most of a quota.
func (b *Builder) largest(key discovery.Key, of scope) (name string) {
	most := 0
	switch of {
	case ofNamespace:
		for k, s := range b.services {
			if n := s.usage.askedClaims; k.Namespace == key.Namespace && (n > most || n == most && k.Name < name) {
				most, name = n, k.Name
			}
		}
		return "service " + printable(name)
	case ofAll:
		for k, u := range b.used {
			if n := u.askedClaims; n > most || n == most && k < name {
				most, name = n, k
			}
		}
		return "namespace " + printable(name)
	}
	return ""
}

// The order in which services came that are over the quotas of their namespace is
// agreed upon as that of contests is: the first claimant stands for all that came in
// time.
const quotaContest = "(quota) "

// latePlace is where a service stands among those that came too late, 0 when it is
// none of them.
func (a Agreement) latePlace(key discovery.Key) int {
	all := a[quotaContest+key.Namespace]
	return max(0, slices.IndexFunc(all, func(c Claimant) bool { return c.Key == key }))
}

// latecomers returns the contests for quotas.
func (b *Builder) latecomers() (all []Contest) {
	crowded := make(map[string]bool)
	for key := range b.allowances {
		crowded[key.Namespace] = true
	}
	if len(crowded) == 0 {
		return nil
	}
	at := make(map[string]int)
	for _, key := range b.byArrival(crowded) {
		if _, short := b.allowances[key]; !short {
			continue
		}
		i, known := at[key.Namespace]
		if !known {
			i, at[key.Namespace] = len(all), len(all)
			first := Claimant{Key: discovery.Key{Namespace: key.Namespace, Name: everyTenant}, Instances: true}
			all = append(all, Contest{Name: quotaContest + key.Namespace, Claimants: []Claimant{first}})
		}
		if c := &all[i]; len(c.Claimants) < maxClaimants {
			c.Claimants = append(c.Claimants, Claimant{Key: key, Instances: b.services[key].source != nil})
		}
	}
	return all
}

// meter counts what one service takes while it is compiled.
type meter struct {
	usage   usage
	allowed allowances
	// short are claims within the quota of the service that another one refuses.
	short   map[seat]bool
	refused map[excess]*Rejection
	// refusing and refusingOf are those of the last refusal.
	refusing   *discovery.Instance
	refusingOf excess
}

// excess is what is refused of a route for one quota.
type excess struct {
	route, what string
	of          scope
}

// fits takes a claim of an instance into the service, or refuses it.
func (c *compilation) fits(instance *discovery.Instance, d *Definition, s seat) bool {
	if c.demands[s] != nil || instance.ByHand() {
		return true
	}
	m, q, n := &c.meter, &c.options.Quotas, len(d.Conditions)
	refuse := func(what string, limits Limits, of scope, user string) bool {
		m.refuse(c, instance, d, s, excess{d.Name, what, of}, limits.of(of), user)
		return false
	}
	if !m.short[s] {
		if m.usage.askedClaims >= q.Claims.Service {
			return refuse("claims", q.Claims, ofService, "")
		}
		if n > 0 && m.usage.askedConditions+n > q.Conditions.Service {
			return refuse("conditions", q.Conditions, ofService, "")
		}
		m.usage.askedClaims++
		m.usage.askedConditions += n
		if m.usage.claims < m.allowed.claims.n && (n == 0 || m.usage.conditions+n <= m.allowed.conditions.n) {
			m.usage.claims++
			m.usage.conditions += n
			return true
		}
		m.short[s] = true
	}
	if a := m.allowed.claims; m.usage.claims >= a.n {
		return refuse("claims", q.Claims, a.of, a.user)
	}
	return refuse("conditions", q.Conditions, m.allowed.conditions.of, m.allowed.conditions.user)
}

// refuse notes a claim that is over a quota, together with the others of its route.
func (m *meter) refuse(c *compilation, instance *discovery.Instance, d *Definition, s seat, x excess, limit int, user string) {
	r := m.refused[x]
	if r == nil {
		r = &Rejection{
			Namespace: printable(c.key.Namespace), Service: printable(c.key.Name), Job: printable(instance.Job), Route: d.Name, Quota: x.what + "-" + x.of.String(),
			Instead: fmt.Sprintf("fewer hosts, paths or conditions; the operator can raise --max-%s-%s", x.what, x.of),
		}
		switch x.of {
		case ofService:
			r.Why = fmt.Sprintf("the service has its %d %s: what came later is refused", limit, x.what)
		case ofNamespace:
			r.Why = fmt.Sprintf("the namespace has its %d %s: what came later is refused", limit, x.what)
		default:
			r.Why = fmt.Sprintf("all namespaces together have their %d %s: what came later is refused", limit, x.what)
		}
		if user != "" {
			r.Why += "; most are of " + user
		}
		m.refused[x] = r
	}
	if len(r.Hosts) < maxAllocs && !slices.Contains(r.Hosts, s.host) {
		r.Hosts = append(r.Hosts, s.host)
	}
	if m.refusing != instance || m.refusingOf != x {
		m.refusing, m.refusingOf = instance, x
		r.join(cmp.Or(instance.Alloc, instance.ID))
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
