package router

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// Where it cannot be read which requests a route with a guard takes, other routes of the same
// instance may take them. So what they would serve of its hosts is closed: all of it, if its
// paths, its class or its priority are not known, and whatever the host is if its hosts are not.
// Routes of other services are left alone: the guard was not meant for their instances.

// unclear reports whether the route, whose tags are refused, has a guard and may take requests
// that it does not take when it is closed.
func (r *reading) unclear() bool {
	l := r.guard.lost
	return r.guard.there && (l.hosts || l.paths || l.class || l.priority || r.guard.unknown && len(r.Prefixes)+len(r.Exact) == 0)
}

// closeUnclear closes what the other routes of an instance would serve of what unclear ones may
// take.
func closeUnclear(all []Definition, unclear []*reading) (rest []Definition, problems []Problem) {
	if len(unclear) == 0 {
		return all, nil
	}
	byClass := make(map[string]*hidden)
	for i := range all {
		d := &all[i]
		if byClass[d.Class] == nil {
			byClass[d.Class] = hiddenFrom(d.Class, unclear)
		}
		rest = append(rest, byClass[d.Class].split(d)...)
	}
	for _, r := range unclear {
		if slices.ContainsFunc(all, func(d Definition) bool { return d.Name != r.Name && r.mayBeOf(d.Class) }) {
			problems = append(problems, Problem{
				Route: printable(r.Name), Hosts: r.Hosts, DefaultHost: r.DefaultHost,
				Why:     "the route has a guard, and it is not clear which requests it takes, so other routes of the instance are closed on its hosts",
				Instead: "what its other refusals say",
			})
		}
	}
	return rest, problems
}

// mayBeOf reports whether the route may be of a class.
func (r *reading) mayBeOf(class string) bool { return r.guard.lost.class || r.Class == class }

// hidden is what unclear routes may take.
type hidden struct {
	all    bool           // whatever the host is
	hosts  map[string]int // with the highest priority that one may have there
	sorted []string       // these hosts
}

// hiddenFrom returns what unclear routes may take from those of a class.
func hiddenFrom(class string, unclear []*reading) *hidden {
	h := &hidden{hosts: make(map[string]int)}
	for _, r := range unclear {
		if !r.mayBeOf(class) {
			continue
		}
		priority := r.Priority
		if r.guard.lost.priority {
			priority = math.MaxInt
		}
		h.all = h.all || r.guard.lost.hosts
		for _, host := range r.Hosts {
			if known, ok := h.hosts[host]; !ok || known < priority {
				h.hosts[host] = priority
			}
		}
	}
	h.sorted = slices.Sorted(maps.Keys(h.hosts))
	return h
}

// split returns a definition without what is hidden, which is closed: at its own hosts, and at
// narrower ones.
func (h *hidden) split(d *Definition) (parts []Definition) {
	if d.Options.Closed {
		return []Definition{*d}
	}
	shut, open := *d, *d
	shut.Hosts, open.Hosts = nil, nil
	for _, host := range d.Hosts {
		if h.takes(host, d.Priority) {
			shut.Hosts = append(shut.Hosts, host)
		} else {
			open.Hosts = append(open.Hosts, host)
		}
	}
	if own := setOf(d.Hosts); own.hasWide() {
		for _, host := range h.sorted {
			if h.hosts[host] >= d.Priority && !own[host] && own.covers(host) {
				shut.Hosts = append(shut.Hosts, host)
			}
		}
	}
	if len(shut.Hosts) > 0 {
		parts = append(parts, *shut.closed())
	}
	if len(open.Hosts) > 0 {
		parts = append(parts, open)
	}
	return parts
}

// takes reports whether an unclear route may take requests for a host from a route that has
// the host itself and this priority.
func (h *hidden) takes(host string, priority int) bool {
	if of, ok := h.hosts[host]; h.all || ok && of >= priority {
		return true
	}
	return slices.ContainsFunc(wider(host), func(w string) bool {
		of, ok := h.hosts[w]
		return ok && of > priority
	})
}

// hostSet is a set of host patterns.
type hostSet map[string]bool

func setOf(list []string) hostSet {
	set := make(hostSet, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// hasWide reports whether one of the patterns stands for several names.
func (s hostSet) hasWide() bool {
	for host := range s {
		if strings.HasPrefix(host, "*") {
			return true
		}
	}
	return false
}

// covers reports whether a route with these hosts takes requests for a host.
func (s hostSet) covers(host string) bool {
	return s[host] || slices.ContainsFunc(wider(host), func(w string) bool { return s[w] })
}

// wider returns the patterns that stand for a host besides others.
func wider(host string) []string {
	if host == "*" {
		return nil
	}
	if label, rest, ok := strings.Cut(host, "."); ok && label != "*" && !isAddr(host) {
		return []string{"*." + rest, "*"}
	}
	return []string{"*"}
}
