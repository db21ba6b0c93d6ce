package router

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
	"serai/upstream"
)

// service is what a Builder keeps of one service.
type service struct {
	// source is nil when the service has no instance and only lingers.
	source    *discovery.Service
	routes    []*Route
	refused   []Rejection
	endpoints []*upstream.Endpoint // acquired, some of them several times
	// age is the lowest index of an instance of the service since it was last without
	// instances.
	age   uint64
	usage usage // without lingering routes
	// pages are the services that have error pages for its routes, nil for none.
	pages []discovery.Key
	// unlingered counts routes that ended with the last change because of a quota.
	unlingered uint64
}

// routeID is the identity of a Route within its service, across tables.
type routeID struct {
	name, host string
	claim
}

func (r *Route) routeID() routeID { return routeID{r.Name, r.Host, r.claim()} }

// routesByID returns the routes by their ID. A table keeps no such map: most services
// have one route, for which it would be larger than everything else about them.
func (s *service) routesByID() map[routeID]*Route {
	routesByID := make(map[routeID]*Route, len(s.routes))
	for _, r := range s.routes {
		routesByID[r.routeID()] = r
	}
	return routesByID
}

// demand is what asks for one route.
type demand struct {
	conditions []Condition
	// wanted are the petitions that the quotas of the service permit; asks those that get
	// the route, none when another quota refuses it.
	wanted, asks []ask
}

// compilation is one service whose routes are being made.
type compilation struct {
	*Builder
	key       discovery.Key
	demands   map[routeID]*demand
	refusals  map[string]*Rejection
	order     []routeID // demands, also those that a quota refuses, the oldest first
	endpoints []*upstream.Endpoint
	targets   []upstream.Target // of the instance that is read
	meter     meter
	claimed   int // the claims of all petitions
	// told are the hosts of the last rejection, which all of one route share; unnamed says that
	// those of a refused instance had no room.
	told    *string
	unnamed bool
	// instances and memberships are how many there are so far.
	instances, memberships int
	stats                  map[string]*Stats // by route name
	commons                map[likeness]*Common
	guardedAnew            map[*Common]*Common // see guardAnew
	pools                  map[poolKey]*upstream.Pool
	// unlingered counts routes that do not linger because of a quota.
	unlingered uint64
}

// compile makes the routes of a service, keeping the state of its last ones. A service
// has all routes that any of its instances asks for; each instance is a member of the
// routes of its own tags.
func (b *Builder) compile(u *update, key discovery.Key, last map[routeID]*Route, source *discovery.Service) *service {
	c := &compilation{
		Builder: b, key: key, demands: make(map[routeID]*demand), refusals: make(map[string]*Rejection),
		stats: make(map[string]*Stats), commons: make(map[likeness]*Common), pools: make(map[poolKey]*upstream.Pool), guardedAnew: make(map[*Common]*Common),
	}
	c.meter = meter{quotas: &b.options.Quotas, allowed: b.allowed(key), refused: make(map[excess]*Rejection)}
	next := &service{source: source}
	if source != nil {
		if len(source.Instances) > 0 {
			next.age = firstIndex(source)
		}
		if next.age > 0 { // not only in the operator's file
			c.meter.usage.got[memory], c.meter.usage.asked[memory] = serviceBytes, serviceBytes
		}
		c.readAll(source)
		c.settlePools()
	}
	if old := b.services[key]; old != nil && (source == nil || old.age < next.age) {
		next.age = old.age
	}
	for _, r := range last {
		c.stats[r.Name] = r.Stats
	}
	passed := c.renamed(last)
	for _, id := range c.order {
		d, before := c.demands[id], last[id]
		if !d.granted() {
			continue // refused
		}
		if before == nil {
			before = passed[place{id.host, id.claim}]
		}
		next.routes = append(next.routes, c.route(id, d, before))
	}
	next.routes = append(next.routes, c.lingering(u, source, last, passed)...)
	if r := notKept(source); r != nil {
		next.refused = append(next.refused, *r)
	}
	for _, r := range c.refusals {
		next.refused = append(next.refused, *r)
	}
	for _, r := range c.meter.refused {
		next.refused = append(next.refused, *r)
	}
	next.usage, next.unlingered = c.meter.usage, c.unlingered
	slices.SortFunc(next.refused, Rejection.compare)
	next.endpoints = c.endpoints
	next.pages = pagesOf(next.routes)
	return next
}

// lingering returns the routes that no instance asks for any more and that stay for a
// while.
func (c *compilation) lingering(u *update, source *discovery.Service, last map[routeID]*Route, passed map[place]*Route) []*Route {
	present := make(map[string]bool)
	if source != nil {
		for _, i := range source.Instances {
			present[i.ID] = true
		}
	}
	var left []*Route
	for id, r := range last {
		if c.demands[id] != nil || passed[place{id.host, id.claim}] == r {
			continue
		}
		r = c.linger(u.now, r, present)
		if r != nil && u.anew {
			r = c.guardAnew(r)
		}
		if r != nil {
			left = append(left, r)
		}
	}
	return c.bounded(left)
}

// reservedPath says why a path may not be claimed, nil when it may.
func (c *compilation) reservedPath(path string, instance *discovery.Instance) *flaw {
	for _, r := range c.options.Reserved {
		if takesPath(r, false, []byte(path)) && !instance.ByHand() {
			return &flaw{fmt.Sprintf("path %s is the operator's", printable(path)), "another path; the operator can claim it in the file of --services"}
		}
	}
	return nil
}

// newer orders instances by when they were last registered.
func newer(a, b *discovery.Instance) bool {
	return cmp.Or(cmp.Compare(a.Modified, b.Modified), cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID)) > 0
}

// refuse records a rejection, joined with the same one of other instances. One of whole
// instances is the same whatever hosts these would have, and gathers them.
func (c *compilation) refuse(instance *discovery.Instance, r Rejection) *Rejection {
	r.Namespace, r.Service, r.Job = printable(c.key.Namespace), printable(c.key.Name), printable(instance.Job)
	var named namedHosts
	if r.Instance {
		named, r.Hosts, r.DefaultHost = namedHosts{r.Hosts, r.DefaultHost}, nil, false
	}
	id := strings.Join([]string{r.Job, r.Route, r.Tag, r.Why, r.Instead, strings.Join(r.Hosts, ",")}, "\x00")
	if c.refusals[id] == nil {
		if !instance.ByHand() && !c.mayTell(&r) {
			id, r = "", Rejection{Namespace: r.Namespace, Service: r.Service, Why: "more of the service is refused than can be told", Instead: "what the other refusals say"}
		}
		if c.refusals[id] == nil {
			c.refusals[id] = &r
		}
	}
	known := c.refusals[id]
	if known.Instance {
		c.nameHosts(instance, known, &named)
	}
	known.join(cmp.Or(instance.Alloc, instance.ID))
	return known
}

// mayTell reports whether one more rejection may be kept, and counts it.
func (c *compilation) mayTell(r *Rejection) bool {
	if len(c.refusals) >= maxRefusals {
		return false
	}
	need := amount{memory: rejectionBytes}
	anew := len(r.Hosts) > 0 && c.told != &r.Hosts[0]
	if anew {
		need[memory] += bytesOfHosts(r.Hosts)
	}
	_, ok := c.meter.charge(need, need, false)
	if ok && anew {
		c.told = &r.Hosts[0]
	}
	return ok
}

// nameHosts adds the hosts of one more instance to a rejection of whole instances, if there
// is memory for them.
func (c *compilation) nameHosts(instance *discovery.Instance, r *Rejection, more *namedHosts) {
	if c.unnamed {
		return
	}
	all := namedHosts{r.Hosts, r.DefaultHost}
	all.add(more.list, more.byDefault)
	if need := (amount{memory: bytesOfHosts(all.list[len(r.Hosts):])}); !instance.ByHand() && need[memory] > 0 {
		if _, ok := c.meter.charge(need, need, false); !ok {
			c.unnamed = true
			return
		}
	}
	r.Hosts, r.DefaultHost = all.list, all.byDefault
}

// route makes the route of an ID, keeping the state of its last version.
func (c *compilation) route(id routeID, d *demand, last *Route) *Route {
	age := d.age()
	_, newest := newestOf(d.asks)
	r := &Route{
		Common: c.common(id, d), Host: id.host, Path: id.path, Exact: id.exact, DefaultHost: newest.DefaultHost, CreateIndex: age, present: age,
		guarded: c.owners != nil && strings.HasPrefix(id.host, "*"),
	}
	if last != nil {
		r.CreateIndex = min(r.CreateIndex, last.CreateIndex)
	}
	r.place = int32(c.agreed.place(r))
	r.Pool = c.pool(d, c.room(r, last))
	return r
}

// likeness distinguishes routes that differ in more than their host, path and age.
type likeness struct {
	name, conditions string
	priority         int
	job              string
	options          *RouteOptions
}

// common returns what the route has in common with others.
func (c *compilation) common(id routeID, d *demand) *Common {
	newest, of := newestOf(d.asks)
	key := likeness{id.name, id.conditions, id.priority, newest.Job, of.Options}
	if known := c.commons[key]; known != nil {
		return known
	}
	if c.stats[id.name] == nil {
		c.stats[id.name] = c.newStats()
	}
	common := &Common{
		Namespace: c.key.Namespace, Service: c.key.Name, Job: newest.Job, Name: id.name,
		Conditions: d.conditions, Priority: id.priority, Options: of.Options, Stats: c.stats[id.name],
		conditions: id.conditions, once: of.once, bytes: definitionBytes + 2*len(id.conditions) + of.Options.OfRoute.Size(),
	}
	common.setPolicies(of.layers)
	c.commons[key] = common
	return common
}

// newStats returns the empty Stats of a route.
func (b *Builder) newStats() *Stats {
	s := NewStats(&b.wideStats)
	s.Policies.Rates, s.Policies.Encoders = b.options.Rates, b.options.Encoders
	return s
}

// poolKey distinguishes pools that differ in more than their room.
type poolKey struct {
	memberships string
	options     upstream.PoolOptions
}

func (c *compilation) poolKey(asks []ask) poolKey {
	id := make([]byte, 0, len(asks)*2)
	for i := range asks {
		id = binary.AppendUvarint(id, uint64(asks[i].membership.id))
	}
	_, of := newestOf(asks)
	return poolKey{string(id), c.poolOptions(of.Options)}
}

// pool returns the pool of a route. Pools with the same members and options share
// members, weights and the values of sticky cookies.
func (c *compilation) pool(d *demand, room *upstream.Room) *upstream.Pool {
	key := c.poolKey(d.asks)
	if p := c.pools[key]; p != nil {
		return p.In(room)
	}
	p := upstream.NewPool(d.members(), key.options, room)
	c.pools[key] = p
	return p
}

func (c *compilation) poolOptions(o *RouteOptions) upstream.PoolOptions {
	return upstream.PoolOptions{
		Balance: o.Balance, Prefer: o.Prefer, Node: c.options.Node, ConsulNode: c.options.ConsulNode, Datacenter: c.options.Datacenter, Sticky: o.Sticky,
	}
}
