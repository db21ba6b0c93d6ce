package router

import (
	"log/slog"
	"maps"
	"slices"

	"serai/discovery"
	"serai/internal/history"
)

// move is a route before and after an update; nil where there is none.
type move struct{ before, after *Route }

// movedID identifies a route across services.
type movedID struct {
	discovery.Key
	routeID
}

// noteMoves compares the routes of a service. A service may be compiled several times in one
// update: what counts is the first state and the last one.
func (u *update) noteMoves(key discovery.Key, was, is map[routeID]*Route) {
	note := func(id routeID, before, after *Route) {
		if m := u.moved[movedID{key, id}]; m != nil {
			m.after = after
		} else if before == nil || after == nil || before.Lingers() != after.Lingers() {
			if u.moved == nil {
				u.moved = make(map[movedID]*move)
			}
			u.moved[movedID{key, id}] = &move{before, after}
		}
	}
	for id, after := range is {
		note(id, was[id], after)
	}
	for id, before := range was {
		if is[id] == nil {
			note(id, before, nil)
		}
	}
}

// kind is what has become of the route, and how the log says it; empty for nothing.
func (m *move) kind() (kind history.Kind, message string) {
	switch before, after := m.before, m.after; {
	case before == nil && after == nil:
	case before == nil:
		return history.RouteClaimed, "a route is claimed"
	case after == nil && before.Lingers():
		return history.RouteWithdrawn, "a route that waited for an instance has ended"
	case after == nil:
		return history.RouteWithdrawn, "a route is withdrawn"
	case after.Lingers() && !before.Lingers():
		return history.RouteWaits, "the last instance of a route has gone: requests wait for the next one"
	case before.Lingers() && !after.Lingers():
		return history.RouteResumed, "a route has an instance again"
	}
	return "", ""
}

// reportMoves tells which routes came and went: the first ones as INFO, those beyond as DEBUG.
func (b *Builder) reportMoves(u *update) {
	ids := slices.SortedFunc(maps.Keys(u.moved), func(a, b movedID) int {
		return cmpStrings(a.Namespace, b.Namespace, a.Name, b.Name, a.host, b.host, a.path, b.path, a.name, b.name)
	})
	told := 0
	for _, id := range ids {
		m := u.moved[id]
		kind, message := m.kind()
		if kind == "" {
			continue
		}
		level := slog.LevelInfo
		if told++; told > maxReported {
			level = slog.LevelDebug
		}
		if told == maxNoted {
			b.options.Logger.Info("more changes of routes are not logged; see /routes", "changes", len(ids)-told)
			return
		}
		r := m.after
		if r == nil {
			r = m.before
		}
		args := []any{"namespace", printable(r.Namespace), "service", printable(r.Service)}
		if r.Name != "" {
			args = append(args, "route", r.Name)
		}
		args = append(args, "host", r.Host)
		if r.Path != "/" || r.Exact {
			args = append(args, "path", printable(r.match()))
		}
		if r.conditions != "" {
			args = append(args, "conditions", printable(r.conditions))
		}
		history.Tell(b.options.Logger, level, kind, message, args...)
	}
}

// reportStart tells what there is once everything is known: each route would be too much.
func (b *Builder) reportStart() {
	routes, hosts, services := 0, make(map[string]bool), 0
	for _, s := range b.services {
		if routes += len(s.routes); len(s.routes) > 0 {
			services++
		}
		for _, r := range s.routes {
			hosts[r.Host] = true
		}
	}
	history.Tell(b.options.Logger, slog.LevelInfo, history.RouteClaimed, "the first complete routing table", "routes", routes, "hosts", len(hosts), "services", services)
}
