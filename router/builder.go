package router

import (
	"fmt"
	"time"

	"serai/discovery"
	"serai/internal/quota"
	"serai/upstream"
)

// Builder makes each Table from the last one, changing only what belongs to the
// services that changed. Its methods must not be called concurrently.
type Builder struct {
	options Options
	router  *Router
	grammar *Grammar
	// defaultHost is nil where services without a host have none.
	defaultHost *hostTemplate
	owners      *owners
	services    map[discovery.Key]*service
	// wideStats counts the Stats with a shard for each core.
	wideStats quota.Quota
	// paging counts the services whose routes show pages of a service.
	paging map[discovery.Key]int
	// questioned are the services that auths ask.
	questioned map[discovery.Key]bool
	// expiries is when the first lingering route of a service expires.
	expiries map[discovery.Key]time.Time
	// broad counts the routes of wildcards and "*" by namespace and priority.
	broad map[broadKey]int
	// broadSpelled counts those of them whose path has encoded bytes.
	broadSpelled int
	// shares are the hosts that several namespaces may claim together, holdings those
	// of one namespace.
	shares   *owners
	holdings map[string]*holding
	// kept are the routes that keep a host for a namespace after a start.
	kept map[hostKey][]*Route
	// contests are the contests of the current table, by host pattern.
	contests map[string][]Contest
	agreed   Agreement
	// counted is what each service takes of the quotas, used the sum by namespace,
	// usedByAll the sum of all. allowances are the limits of services that ask for
	// more.
	counted    map[discovery.Key]usage
	used       map[string]usage
	usedByAll  usage
	allowances map[discovery.Key]allowances
	allotting  bool   // new allowances are being applied
	unlingered uint64 // routes that do not linger because of a quota
	trouble    string // why an order that is not agreed will not be recorded
	// started is set with the first snapshot, complete with the first one of all
	// sources, informed with the first agreement, placesKept once snapshot and
	// agreement have been combined: see keepPlaces.
	started, complete, informed, placesKept bool
	partial                                 bool // of the last snapshot, as long as none was complete
	// asked is when Nomad was asked about an absence; renamed are absences whose jobs
	// go on under another service name.
	asked   map[Absence]time.Time
	renamed map[Absence]bool
}

// NewBuilder makes a Builder that publishes to router.
func NewBuilder(router *Router, o Options) (*Builder, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("router options: %w", err)
	}
	o.setDefaults()
	owners, _ := newOwners(o.Owners) // Validate has tried
	shares, _ := newOwners(o.shares())
	b := &Builder{
		options: o, router: router, grammar: NewGrammar(o.Prefix), owners: owners,
		services: make(map[discovery.Key]*service), paging: make(map[discovery.Key]int), questioned: askedServices(o.Catalog), expiries: make(map[discovery.Key]time.Time), broad: make(map[broadKey]int),
		shares: shares, holdings: make(map[string]*holding), kept: make(map[hostKey][]*Route),
		counted: make(map[discovery.Key]usage), used: make(map[string]usage),
		contests: make(map[string][]Contest), asked: make(map[Absence]time.Time), renamed: make(map[Absence]bool),
	}
	b.grammar.httpsOnly, b.grammar.class = o.HTTPSOnly, o.Class
	if o.DefaultHost != "" {
		b.defaultHost, _ = newHostTemplate(o.DefaultHost) // Validate has tried
	}
	router.current.Store(newTable(owners, o.Reserved...))
	return b, nil
}

// Update makes and publishes the table of a snapshot. A service with the same pointer
// as in the last snapshot costs one comparison. Endpoints that no table names any more
// are released once the new table is current.
func (b *Builder) Update(s *discovery.Snapshot) {
	for b.Step(s) {
	}
}

// maxStep bounds the tags that one step reads, about ten milliseconds' work, besides
// those of its first service.
const maxStep = 4096

// claimsOfTag is how many claims of an instance cost what one of its tags costs.
const claimsOfTag = 16

// Step makes and publishes a table with as many changes of a snapshot as one step can
// make, the cheapest first, and reports whether some are left. So a service with very
// many tags does not delay the changes of others; the next step may use a newer
// snapshot. The first table has everything.
func (b *Builder) Step(s *discovery.Snapshot) (more bool) {
	u := b.begin()
	changed := b.changed(s)
	work := 0
	for i, c := range changed {
		if work += c.tags; b.started && i > 0 && work > maxStep {
			more = true
			break
		}
		b.replace(u, c.Key, s.Services[c.Key])
	}
	if len(b.services) > len(s.Services) { // only then is a service gone
		for key, known := range b.services {
			if s.Services[key] == nil && known.source != nil {
				b.replace(u, key, nil)
			}
		}
	}
	b.expire(u)
	b.admit(u)
	b.started = true
	b.keepPlaces(u)
	index := b.router.Current().Index
	if !more {
		index = max(s.Index, index)
	}
	b.partial = s.Partial && !b.complete
	b.publish(u, index)
	if !b.complete && !s.Partial && !more {
		b.complete = true
		b.reportStart()
	}
	return more
}

// Expire drops the lingering routes that have expired.
func (b *Builder) Expire() {
	u := b.begin()
	b.expire(u)
	b.admit(u)
	b.publish(u, b.router.Current().Index)
}

// NextExpiry is when Expire next has something to do; zero when nothing lingers.
func (b *Builder) NextExpiry() (first time.Time) {
	for _, at := range b.expiries {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

func (b *Builder) begin() *update {
	return &update{now: b.options.Now(), hosts: make(map[string]*change), pages: make(map[discovery.Key]bool), refused: b.router.Current().refused.edit()}
}

func (b *Builder) expire(u *update) {
	for key, at := range b.expiries {
		if !at.After(u.now) {
			b.replace(u, key, b.services[key].source)
		}
	}
}

// replace compiles a service again and notes the changes. A nil source means that the
// service has no instance.
func (b *Builder) replace(u *update, key discovery.Key, source *discovery.Service) {
	old := b.services[key]
	if old == nil {
		old = &service{}
	}
	was := old.routesByID()
	next := b.compile(u, key, was, source)
	is := next.routesByID()
	rooms := make(map[*upstream.Room]bool, len(is))
	if b.complete {
		u.noteMoves(key, was, is)
	}
	for id, r := range is {
		rooms[r.Pool.Room()] = true
		if was[id] != r {
			u.at(r.Host).add = append(u.at(r.Host).add, r)
			u.pools = append(u.pools, r.Pool)
			if len(b.kept) > 0 && key.Name != everyTenant && !(u.anew && r.Lingers()) {
				b.relieve(u, r)
			}
		}
	}
	for id, r := range was {
		if is[id] != r {
			u.at(r.Host).drop(r)
		}
		if room := r.Pool.Room(); !rooms[room] {
			u.rooms = append(u.rooms, room)
		}
	}
	u.endpoints = append(u.endpoints, old.endpoints...)
	b.notePages(u, key, old.pages, next.pages)
	b.unlingered += next.unlingered
	u.refuse(key, old.refused, next.refused)
	if next.source == nil && len(next.routes) == 0 {
		u.refuse(key, next.refused, nil) // no instance is left that these rejections could be about
		delete(b.services, key)
		delete(b.expiries, key)
		b.account(key)
		return
	}
	b.services[key] = next
	b.noteExpiry(key)
}

// Close releases what the current table holds. The table must not serve requests any
// more.
func (b *Builder) Close() {
	for _, s := range b.services {
		for _, e := range s.endpoints {
			b.options.Registry.Release(e)
		}
	}
	clear(b.services)
}
