package admin

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"serai/router"
	"serai/upstream"
)

var endpoints = desc("serai_endpoints", "Instances by state, of each service that has been called here or lacks a ready one; those of all others, and of none, have empty labels.", "namespace", "service", "state")

// maxQuiet bounds the services that have not been called and are told of all the
// same, because instances of them are not ready: when a node is cut off, that is
// all of them.
const maxQuiet = 1000

// states counts instances.
type states [upstream.Leaving + 1]int

func (s *states) add(o *states) {
	for i, n := range o {
		s[i] += n
	}
}

// collectEndpoints tells of the instances of the current table. A service that
// has gone from it is not told of any more.
func collectEndpoints(out chan<- prometheus.Metric, table *router.Table, registry *upstream.Registry) {
	byService, called := make(map[owner]*states), make(map[owner]bool)
	type pair struct {
		owner
		endpoint *upstream.Endpoint
	}
	counted, used := make(map[pair]bool), make(map[upstream.Target]bool)
	for _, r := range table.Routes() {
		o := owner{label(r.Namespace), label(r.Service)}
		s := byService[o]
		if s == nil {
			s = &states{}
			byService[o] = s
		}
		called[o] = called[o] || r.Stats.Called()
		for _, m := range r.Pool.Members() {
			if p := (pair{o, m.Endpoint}); !counted[p] {
				counted[p], used[m.Endpoint.Target()] = true, true
				s[m.Endpoint.State()]++
			}
		}
	}
	var rest states
	for _, e := range registry.Endpoints() {
		if !used[e.Target] {
			rest[e.State]++
		}
	}
	quiet := 0
	for _, o := range slices.SortedFunc(maps.Keys(byService), func(a, b owner) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.service, b.service))
	}) {
		s := byService[o]
		if !called[o] {
			if s[upstream.Ready] > 0 && s[upstream.Probing]+s[upstream.Ejected] == 0 || quiet == maxQuiet {
				rest.add(s)
				continue
			}
			quiet++
		}
		tellStates(out, o, s)
	}
	tellStates(out, owner{}, &rest)
}

// tellStates tells of all states, so that an alert sees that none is ready.
func tellStates(out chan<- prometheus.Metric, o owner, s *states) {
	for _, state := range []upstream.State{upstream.Probing, upstream.Ready, upstream.Ejected} {
		gauge(out, endpoints, float64(s[state]), o.namespace, o.service, state.String())
	}
}
