package router

import (
	"fmt"
	"time"

	"serai/discovery"
	"serai/upstream"
)

// Builder makes each Table from the last one, changing only what belongs to
// the services that changed. It has one user at a time.
type Builder struct {
	options  Options
	router   *Router
	grammar  *Grammar
	owners   *owners
	services map[discovery.Key]*service
	// expiries is when the first lingering route of a service goes.
	expiries map[discovery.Key]time.Time
	// broad counts the routes of wildcards and "*" by priority.
	broad map[int]int
	// contests are those of the current table, by host pattern.
	contests map[string][]Contest
	agreed   Agreement
	trouble  string // why what is not agreed will not be
	// started is set with the first snapshot, complete with the first of all
	// sources, informed with the first agreement, reserved once both have been
	// brought together.
	started, complete, informed, reserved bool
	// asked is when Nomad was asked about an absence; renamed are those whose
	// jobs go on under another name.
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
	b := &Builder{
		options: o, router: router, grammar: NewGrammar(o.Prefix), owners: owners,
		services: make(map[discovery.Key]*service), expiries: make(map[discovery.Key]time.Time), broad: make(map[int]int),
		contests: make(map[string][]Contest), asked: make(map[Absence]time.Time), renamed: make(map[Absence]bool),
	}
	b.grammar.httpsOnly = o.HTTPSOnly
	router.current.Store(newTable(owners))
	return b, nil
}

// update is one step from a table to the next.
type update struct {
	now time.Time
	// hosts is what changes, by host pattern.
	hosts map[string]*change
	// pools are new, endpoints no longer asked for by what made them.
	pools     []*upstream.Pool
	endpoints []*upstream.Endpoint
	refused   *edit[[]Rejection]
	// news are the refusals that the last table did not have, ended those that
	// the next one has not.
	news, ended []Rejection
	// rooms are those of routes that are gone.
	rooms []*upstream.Room
}

// Update makes and publishes the table of a snapshot. A service whose pointer
// is that of the last snapshot costs one comparison. Endpoints that nobody
// names any more are released once the new table is current.
func (b *Builder) Update(s *discovery.Snapshot) {
	u := b.begin()
	for key, source := range s.Services {
		if known := b.services[key]; known == nil || known.source != source {
			b.replace(u, key, source)
		}
	}
	if len(b.services) > len(s.Services) { // only then is one missing
		for key, known := range b.services {
			if s.Services[key] == nil && known.source != nil {
				b.replace(u, key, nil)
			}
		}
	}
	b.expire(u)
	b.started = true
	b.reserve(u)
	b.publish(u, max(s.Index, b.router.Current().Index))
	b.complete = b.complete || !s.Partial
}

// Expire drops the lingering routes whose time has come.
func (b *Builder) Expire() {
	u := b.begin()
	b.expire(u)
	b.publish(u, b.router.Current().Index)
}

// NextExpiry is when Expire has something to do; zero when nothing lingers.
func (b *Builder) NextExpiry() (first time.Time) {
	for _, at := range b.expiries {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

func (b *Builder) begin() *update {
	return &update{now: b.options.Now(), hosts: make(map[string]*change), refused: b.router.Current().refused.edit()}
}

func (b *Builder) expire(u *update) {
	for key, at := range b.expiries {
		if !at.After(u.now) {
			b.replace(u, key, b.services[key].source)
		}
	}
}

// replace compiles a service anew and notes what that changes. A nil source
// means that the service has no instance.
func (b *Builder) replace(u *update, key discovery.Key, source *discovery.Service) {
	old := b.services[key]
	if old == nil {
		old = &service{}
	}
	was := old.seats()
	next := b.compile(u, key, was, source)
	is := next.seats()
	rooms := make(map[*upstream.Room]bool, len(is))
	for seat, r := range is {
		rooms[r.Pool.Room()] = true
		if was[seat] != r {
			u.at(r.Host).add = append(u.at(r.Host).add, r)
			u.pools = append(u.pools, r.Pool)
		}
	}
	for seat, r := range was {
		if is[seat] != r {
			u.at(r.Host).remove = append(u.at(r.Host).remove, r)
		}
		if room := r.Pool.Room(); !rooms[room] {
			u.rooms = append(u.rooms, room)
		}
	}
	u.endpoints = append(u.endpoints, old.endpoints...)
	u.refuse(key, old.refused, next.refused)
	if next.source == nil && len(next.routes) == 0 {
		delete(b.services, key)
		delete(b.expiries, key)
		return
	}
	b.services[key] = next
	b.noteExpiry(key)
}

func (u *update) at(host string) *change {
	c := u.hosts[host]
	if c == nil {
		c = &change{}
		u.hosts[host] = c
	}
	return c
}

// refuse replaces what is refused of a service.
func (u *update) refuse(key discovery.Key, old, next []Rejection) {
	if len(old)+len(next) == 0 {
		return
	}
	u.refused.set(key.Namespace+"/"+key.Name, next, len(next) > 0)
	u.note(old, next)
}

// publish makes the next table current, hands its pools to the requests that
// wait, and only then lets go of what the last one needed.
func (b *Builder) publish(u *update, index uint64) {
	last := b.router.Current()
	next := *last
	next.Index, next.Built, next.trouble = index, u.now, b.trouble
	next.refused = u.refused.done()
	hosts, wildcards := last.hosts.edit(), last.wildcards.edit()
	for host, c := range u.hosts {
		var old, made *entry
		suffix, wild := cutWildcard(host)
		switch {
		case host == "*":
			old = last.any
			made = old.apply(c)
			next.any = made
		case wild:
			old = last.wildcards.get([]byte(suffix))
			made = old.apply(c)
			wildcards.set(suffix, made, made != nil)
		default:
			old = last.hosts.get([]byte(host))
			made = old.apply(c)
			hosts.set(host, made, made != nil)
		}
		if host == "*" || wild {
			b.countBroad(c)
		}
		u.note(old.rejections(), made.rejections())
		if contests := made.contests(); len(contests) > 0 {
			b.contests[host] = contests
		} else {
			delete(b.contests, host)
		}
	}
	next.hosts, next.wildcards = hosts.done(), wildcards.done()
	next.broadTop = lowestPriority
	for priority := range b.broad {
		next.broadTop = max(next.broadTop, priority)
	}
	b.router.current.Store(&next)
	for _, p := range u.pools {
		b.options.Registry.Publish(p)
	}
	for _, room := range u.rooms {
		room.End()
	}
	for _, e := range u.endpoints {
		b.options.Registry.Release(e)
	}
	b.report(u)
}

func (b *Builder) countBroad(c *change) {
	for _, r := range c.remove {
		if b.broad[r.Priority]--; b.broad[r.Priority] == 0 {
			delete(b.broad, r.Priority)
		}
	}
	for _, r := range c.add {
		b.broad[r.Priority]++
	}
}

// Close releases what the current table holds. No request may be served by it
// any more.
func (b *Builder) Close() {
	for _, s := range b.services {
		for _, e := range s.endpoints {
			b.options.Registry.Release(e)
		}
	}
	clear(b.services)
}
