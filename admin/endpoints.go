package admin

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"serai/internal/pace"
	"serai/router"
	"serai/upstream"
)

var endpoints = desc("serai_endpoints", "Instances by state (ready, probing, ejected), per service; services that were not called on this node and have only ready instances are summed with empty labels.", "namespace", "service", "state")

// maxQuiet bounds the services that have not been called but have series of their own,
// because instances of them are not ready: when a node is cut off, that can be all of
// them.
const maxQuiet = 1000

// states counts instances.
type states [upstream.Leaving + 1]int

// tally is the count for one service.
type tally struct {
	states
	called bool
	seen   []*upstream.Endpoint
	last   *upstream.Pool
}

// collectEndpoints collects the instances of the current table. A service that is no
// longer in it has no series. Of the services that have been called, most have their own.
func collectEndpoints(out chan<- prometheus.Metric, table *router.Table, registry *upstream.Registry, most int) {
	var rest states
	for state, n := range registry.States() {
		rest[state] = n
	}
	byService := tallies(table, rest[upstream.Probing]+rest[upstream.Ejected] == 0)
	told := make(map[*upstream.Endpoint]bool)
	quiet, busy := 0, 0
	var p pace.Pace
	for _, o := range slices.SortedFunc(maps.Keys(byService), func(a, b owner) int {
		p.Step()
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.service, b.service))
	}) {
		t := byService[o]
		if !t.called {
			if quiet == maxQuiet {
				continue
			}
			quiet++
		} else if busy++; busy > most {
			continue
		}
		tellStates(out, o, &t.states)
		for _, e := range t.seen {
			if p.Step(); !told[e] {
				told[e] = true
				rest[e.State()]--
			}
		}
	}
	for i := range rest { // an instance may have changed its state meanwhile
		rest[i] = max(0, rest[i])
	}
	tellStates(out, owner{}, &rest)
}

// tallies counts the instances of each service that has been called, or has an instance that is not ready. Of a large
// cluster these are few, and the others cost no memory. AllReady says that no instance is not ready.
func tallies(table *router.Table, allReady bool) map[owner]*tally {
	byService := make(map[owner]*tally)
	var p pace.Pace
	for _, r := range table.Routes() {
		if p.Step(); r.Stats.Called() || !allReady && slices.ContainsFunc(r.Pool.Members(), notReady) {
			o := ownerOf(r)
			t := byService[o]
			if t == nil {
				t = &tally{}
				byService[o] = t
			}
			t.called = t.called || r.Stats.Called()
		}
	}
	if len(byService) == 0 {
		return byService
	}
	for _, r := range table.Routes() {
		p.Step()
		t := byService[ownerOf(r)]
		if t == nil || r.Pool.SharesMembers(t.last) {
			continue // the routes of a service usually share them
		}
		t.last = r.Pool
		for _, m := range r.Pool.Members() {
			if !slices.Contains(t.seen, m.Endpoint) {
				t.seen = append(t.seen, m.Endpoint)
				t.states[m.Endpoint.State()]++
			}
		}
	}
	return byService
}

func ownerOf(r *router.Route) owner { return owner{label(r.Namespace), label(r.Service)} }

func notReady(m *upstream.Member) bool {
	s := m.Endpoint.State()
	return s == upstream.Probing || s == upstream.Ejected
}

// stateLabels are in the order in which the library sorts them.
var stateLabels = [...]struct {
	state upstream.State
	label *dto.LabelPair
}{{upstream.Ejected, pair("state", "ejected")}, {upstream.Probing, pair("state", "probing")}, {upstream.Ready, pair("state", "ready")}}

// tellStates collects all states, so that an alert sees when none is ready.
func tellStates(out chan<- prometheus.Metric, o owner, s *states) {
	namespace, service := pair("namespace", o.namespace), pair("service", o.service)
	for _, l := range stateLabels {
		n := float64(s[l.state])
		out <- &sample{desc: endpoints, labels: []*dto.LabelPair{namespace, service, l.label}, gauge: &dto.Gauge{Value: &n}}
	}
}
