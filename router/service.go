package router

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
	"serai/policy"
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

// demand is the instances that ask for one route, and what they ask for.
type demand struct {
	conditions []Condition
	members    []int // into compilation.members
	// newest sets the options.
	newest  *discovery.Instance
	options *RouteOptions
	once    map[string]string
	layers  []policy.Layer
	age     uint64
}

// compilation is one service whose routes are being made.
type compilation struct {
	*Builder
	key       discovery.Key
	demands   map[routeID]*demand
	members   []upstream.Member
	refusals  map[string]*Rejection
	endpoints []*upstream.Endpoint
	meter     meter
	asked     int // claims, of all lists of different tags
	// unlingered counts routes that do not linger because of a quota.
	unlingered uint64
}

// compile makes the routes of a service, keeping the state of its last ones. A service
// has all routes that any of its instances asks for; each instance is a member of the
// routes of its own tags.
func (b *Builder) compile(u *update, key discovery.Key, last map[routeID]*Route, source *discovery.Service) *service {
	c := &compilation{Builder: b, key: key, demands: make(map[routeID]*demand), refusals: make(map[string]*Rejection)}
	c.meter = meter{allowed: b.allowed(key), short: make(map[routeID]bool), refused: make(map[excess]*Rejection)}
	next := &service{source: source}
	if source != nil {
		c.readAll(source)
		next.age = firstIndex(source)
	}
	if old := b.services[key]; old != nil && (source == nil || old.age < next.age) {
		next.age = old.age
	}
	stats := make(map[string]*Stats)
	for _, r := range last {
		stats[r.Name] = r.Stats
	}
	shared := make(map[poolKey]*upstream.Pool)
	passed := c.renamed(last)
	for routeID, d := range c.demands {
		before := last[routeID]
		if before == nil {
			before = passed[place{routeID.host, routeID.claim}]
		}
		next.routes = append(next.routes, c.route(routeID, d, before, stats, shared))
	}
	present := make(map[string]bool)
	if source != nil {
		for _, i := range source.Instances {
			present[i.ID] = true
		}
	}
	var left []*Route
	for routeID, r := range last {
		if c.demands[routeID] == nil && passed[place{routeID.host, routeID.claim}] != r && !c.meter.short[routeID] {
			if r = b.linger(u.now, r, present); r != nil && u.anew {
				r = c.guardAnew(r)
			}
			if r != nil {
				left = append(left, r)
			}
		}
	}
	next.routes = append(next.routes, c.bounded(left)...)
	for _, r := range c.refusals {
		next.refused = append(next.refused, *r)
	}
	for _, r := range c.meter.refused {
		next.refused = append(next.refused, *r)
	}
	next.usage, next.unlingered = c.meter.usage, c.unlingered
	slices.SortFunc(next.refused, Rejection.compare)
	next.endpoints = c.endpoints
	return next
}

// reserved says why a path may not be claimed, nil when it may.
func (c *compilation) reserved(path string, instance *discovery.Instance) *flaw {
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

// refuse records a rejection, joined with the same one of other instances.
func (c *compilation) refuse(instance *discovery.Instance, r Rejection) *Rejection {
	r.Namespace, r.Service, r.Job = printable(c.key.Namespace), printable(c.key.Name), printable(instance.Job)
	id := strings.Join([]string{r.Job, r.Route, r.Tag, r.Why, r.Instead, strings.Join(r.Hosts, ",")}, "\x00")
	if c.refusals[id] == nil {
		c.refusals[id] = &r
	}
	c.refusals[id].join(cmp.Or(instance.Alloc, instance.ID))
	return c.refusals[id]
}

// route makes the route of an ID, keeping the state of its last version.
func (c *compilation) route(s routeID, d *demand, last *Route, stats map[string]*Stats, shared map[poolKey]*upstream.Pool) *Route {
	if stats[s.name] == nil {
		stats[s.name] = c.newStats()
	}
	r := &Route{
		Namespace: c.key.Namespace, Service: c.key.Name, Job: d.newest.Job, Name: s.name,
		Host: s.host, Path: s.path, Exact: s.exact, Conditions: d.conditions, Priority: s.priority,
		Options: d.options, Stats: stats[s.name], CreateIndex: d.age, present: d.age, conditions: s.conditions,
		guarded: c.owners != nil && strings.HasPrefix(s.host, "*"), once: d.once,
	}
	var room *upstream.Room
	if last == nil {
		room = c.options.Registry.NewRoom(c.key.Namespace)
	} else {
		room = last.Pool.Room()
		r.CreateIndex = min(r.CreateIndex, last.CreateIndex)
	}
	r.place = c.agreed.place(r)
	r.setPolicies(d.layers)
	r.Pool = c.pool(d, room, shared).Under(r.Policies)
	return r
}

// newStats returns the empty Stats of a route.
func (b *Builder) newStats() *Stats {
	s := NewStats()
	s.Policies.Rates = b.options.Rates
	return s
}

// poolKey distinguishes pools that differ in more than their room.
type poolKey struct {
	members string
	options upstream.PoolOptions
}

// pool returns the pool of a route. Pools with the same members and options share
// members, weights and the values of sticky cookies.
func (c *compilation) pool(d *demand, room *upstream.Room, shared map[poolKey]*upstream.Pool) *upstream.Pool {
	id := make([]byte, 0, len(d.members)*2)
	for _, m := range d.members {
		id = binary.AppendUvarint(id, uint64(m))
	}
	key := poolKey{string(id), c.poolOptions(d.options)}
	if p := shared[key]; p != nil {
		return p.In(room)
	}
	members := make([]upstream.Member, len(d.members))
	for i, m := range d.members {
		members[i] = c.members[m]
	}
	p := upstream.NewPool(members, key.options, room)
	shared[key] = p
	return p
}

func (c *compilation) poolOptions(o *RouteOptions) upstream.PoolOptions {
	return upstream.PoolOptions{
		Balance: o.Balance, Prefer: o.Prefer, Node: c.options.Node, Datacenter: c.options.Datacenter, Sticky: o.Sticky,
	}
}

// member makes the pool's member for an instance, and acquires its endpoint.
func (c *compilation) member(instance *discovery.Instance, address string, d *Definition, all []Definition) upstream.Member {
	o := &d.Instance
	host := o.Host
	if o.HostIsAddress {
		host = address
	}
	t := upstream.Target{
		Address: address, Instance: cmp.Or(instance.Alloc, instance.ID), Scheme: o.Scheme,
		TLSName: o.TLSName, TLSInsecure: o.TLSInsecure, ProxyProtocol: o.ProxyProtocol, Check: o.Check,
		Namespace: instance.Namespace, Job: cmp.Or(instance.Job, instance.Service),
	}
	if t.Scheme.Secure() && t.TLSName == "" {
		t.TLSName = upstream.Hostname(host)
	}
	if t.Check.Path != "" {
		t.Check.Host = cmp.Or(host, hostOfCheck(d, all))
	}
	e := c.options.Registry.Acquire(t)
	c.endpoints = append(c.endpoints, e)
	return upstream.Member{
		Endpoint: e, Weight: o.Weight, MaxInflight: o.MaxInflight, Canary: o.Canary,
		Node: instance.Node, Datacenter: instance.Datacenter, Host: host,
		OfInstance: o.OfInstance, Policies: policy.InstanceLayers(d.layers),
		Alloc: instance.Alloc, Service: instance.Service, ID: instance.ID,
	}
}

// hostOfCheck returns the Host that a check sends when upstream-host names none: the
// first host that is a name, among the instance's routes that have the same check, so
// that they share it. Empty when there is none.
func hostOfCheck(d *Definition, all []Definition) string {
	for i := range all {
		if all[i].Class != d.Class || all[i].Instance.Check != d.Instance.Check {
			continue
		}
		for _, host := range all[i].Hosts {
			if !strings.HasPrefix(host, "*") {
				return host
			}
		}
	}
	return ""
}
