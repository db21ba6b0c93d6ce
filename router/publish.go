package router

import (
	"slices"
	"strings"
	"sync/atomic"
)

// publish makes the next table current, hands its pools to the waiting requests, and
// only then releases what only the last table needed.
func (b *Builder) publish(u *update, index uint64) {
	last := b.router.Current()
	next := *last
	next.Index, next.Built, next.trouble = index, u.now, b.trouble
	next.Partial, next.sorted = b.partial, new(atomic.Pointer[[]*Route])
	next.refused, next.owners = u.refused.done(), b.owners
	b.settleHosts(u, last, &next)
	next.pages = b.settlePages(u, last.pages)
	next.usage = b.usageNow()
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

// settleHosts makes the entries of hosts that change. Wildcards come first, because
// their holders affect the hosts that they cover.
func (b *Builder) settleHosts(u *update, last, next *Table) {
	hosts, wildcards := last.hosts.edit(), last.wildcards.edit()
	moved := make(map[string]bool) // wildcards with a new holder
	broad := false
	for host, c := range u.hosts {
		suffix, wild := cutWildcard(host)
		switch {
		case host == "*":
			next.any = b.settle(u, host, last.any, c, nil)
		case wild:
			old := last.wildcards.get([]byte(suffix))
			made := b.settle(u, host, old, c, nil)
			wildcards.set(suffix, made, made != nil)
			if !sameHolder(old, made) {
				moved[suffix] = true
			}
		default:
			continue
		}
		broad = true
		b.countBroad(c)
	}
	if len(moved) > 0 {
		for host := range last.hosts.all() {
			if moved[string(parent([]byte(host)))] {
				u.at(host)
			}
		}
	}
	for host, c := range u.hosts {
		if !strings.HasPrefix(host, "*") {
			made := b.settle(u, host, last.hosts.get([]byte(host)), c, wildcards.get)
			hosts.set(host, made, made != nil)
		}
	}
	next.hosts, next.wildcards = hosts.done(), wildcards.done()
	if broad {
		next.broadTop, next.broadTops = b.broadTops()
		next.broadSpelled = b.broadSpelled > 0
	}
}

// settle makes the entry of one host.
func (b *Builder) settle(u *update, host string, old *entry, c *change, wildcard func([]byte) *entry) *entry {
	base := old
	if u.anew {
		base, c = nil, &change{add: c.add} // who holds the host may have changed
	}
	made := base.apply(c, b.warden(host, wildcard))
	u.note(old.rejections(), made.rejections())
	contests := made.contests()
	if c, ok := made.contest(host); ok {
		contests = append(contests, c)
	}
	if len(contests) > 0 {
		b.contests[host] = contests
	} else {
		delete(b.contests, host)
	}
	return made
}

// sameHolder reports whether two entries of a wildcard have the same effect on the
// hosts that it covers.
func sameHolder(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.tenants()[0] == b.tenants()[0] && slices.Equal(a.holding.namespaces, b.holding.namespaces)
}

// broadKey identifies routes of wildcards and "*". Routes of the operator's file have
// no namespace.
type broadKey struct {
	namespace string
	priority  int
}

func (r *Route) broadKey() broadKey {
	if r.local() {
		return broadKey{"", r.Priority}
	}
	return broadKey{r.Namespace, r.Priority}
}

func (b *Builder) countBroad(c *change) {
	for _, r := range c.remove {
		key := r.broadKey()
		if b.broad[key]--; b.broad[key] == 0 {
			delete(b.broad, key)
		}
		if r.isSpelled() {
			b.broadSpelled--
		}
	}
	for _, r := range c.add {
		b.broad[r.broadKey()]++
		if r.isSpelled() {
			b.broadSpelled++
		}
	}
}

// broadTops returns the highest priority of all such routes, and of the routes of each
// namespace.
func (b *Builder) broadTops() (top int, tops map[string]int) {
	top, tops = lowestPriority, make(map[string]int)
	for key := range b.broad {
		top = max(top, key.priority)
		if p, ok := tops[key.namespace]; !ok || key.priority > p {
			tops[key.namespace] = key.priority
		}
	}
	return top, tops
}
