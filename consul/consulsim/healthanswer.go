package consulsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// healthService is GET /v1/health/service/NAME.
func (s *Sim) healthService(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "health/service/")
	s.health(w, r, name, func() (view, func() []entry) {
		return view{index: s.catalog.serviceIndex(name, s.catalog.exists(name), true), changed: s.catalog.changes[key(name)]},
			func() []entry { return s.catalog.entries(name) }
	})
}

// healthConnect is GET /v1/health/connect/NAME.
func (s *Sim) healthConnect(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "health/connect/")
	s.health(w, r, name, func() (view, func() []entry) {
		all := s.catalog.proxies(name)
		list := func() []entry { return all }
		if len(all) == 0 {
			return view{index: s.catalog.serviceIndex(name, false, true), changed: s.catalog.changed()}, list
		}
		index := uint64(0)
		for _, e := range all {
			index = max(index, s.catalog.serviceIndex(e.Service.Service, true, true))
		}
		return view{index: index, changed: s.catalog.changed()}, list
	})
}

// health answers a list of instances, which is made only when it is due.
func (s *Sim) health(w http.ResponseWriter, r *http.Request, name string, list func() (view, func() []entry)) {
	q, ok := s.parseQuery(w, r, "ns", "partition")
	if !ok {
		return
	}
	if name == "" {
		refuse(w, http.StatusBadRequest, "Missing service name")
		return
	}
	passing, ok := parsePassing(w, r)
	if !ok {
		return
	}
	f, ok := parseFilter(w, q, []entry{})
	if !ok {
		return
	}
	q.streamed = q.index > 0 && q.near == ""
	tags := r.URL.Query()["tag"]
	s.answerList(w, r, q, func() view {
		v, all := list()
		v.read = func(a *authorizer) (any, bool, error) {
			kept, hidden := visible(all(), a.readsEntry)
			kept, err := apply(f, kept)
			kept = slices.DeleteFunc(kept, func(e entry) bool {
				return !q.matchesNode(e.Node) || !hasTags(e.Service.Tags, tags)
			})
			nearFirst(q.near, s.options.Node, kept, func(e entry) string { return e.Node.Node })
			if passing {
				kept = onlyPassing(kept)
			}
			return kept, hidden, err
		}
		return v
	})
}

func (e entry) passing() bool {
	return !slices.ContainsFunc(e.Checks, func(c *Check) bool { return c.Status != Passing })
}

// onlyPassing keeps the entries that pass. The last one takes the place of one that does
// not, as on the agent.
func onlyPassing(all []entry) []entry {
	for i := 0; i < len(all); {
		if all[i].passing() {
			i++
			continue
		}
		last := len(all) - 1
		all[i] = all[last]
		all = all[:last]
	}
	return all
}

// parsePassing reads ?passing, which is true without a value.
func parsePassing(w http.ResponseWriter, r *http.Request) (passing, ok bool) {
	p := r.URL.Query()
	if !p.Has("passing") {
		return false, true
	}
	if p.Get("passing") == "" {
		return true, true
	}
	passing, err := strconv.ParseBool(p.Get("passing"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Invalid value for ?passing")
		return false, false
	}
	return passing, true
}

// hasTags reports whether all wanted tags are there, whatever their case.
func hasTags(tags, wanted []string) bool {
	for _, want := range wanted {
		if !slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, want) }) {
			return false
		}
	}
	return true
}

// healthState is GET /v1/health/state/STATE.
func (s *Sim) healthState(w http.ResponseWriter, r *http.Request) {
	state := rest(r, "health/state/")
	s.checks(w, r, state, "Missing check state", func(c *Check) bool { return state == "any" || c.Status == state })
}

// healthChecks is GET /v1/health/checks/SERVICE.
func (s *Sim) healthChecks(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "health/checks/")
	s.checks(w, r, name, "Missing service name", func(c *Check) bool { return c.ServiceName != "" && key(c.ServiceName) == key(name) })
}

// healthNode is GET /v1/health/node/NODE.
func (s *Sim) healthNode(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "health/node/")
	s.checks(w, r, name, "Missing node name", func(c *Check) bool { return key(c.Node) == key(name) })
}

// checks answers a list of checks.
func (s *Sim) checks(w http.ResponseWriter, r *http.Request, what, missing string, wanted func(*Check) bool) {
	q, ok := s.parseQuery(w, r, "ns", "partition")
	q.early = true
	if !ok {
		return
	}
	if what == "" {
		refuse(w, http.StatusBadRequest, "%s", missing)
		return
	}
	f, ok := parseFilter(w, q, []*Check{})
	if !ok {
		return
	}
	s.answerList(w, r, q, func() view {
		return view{s.catalog.checksTable.index, s.catalog.checksTable.changed, func(a *authorizer) (any, bool, error) {
			all := []*Check{}
			for _, e := range s.catalog.sortedNodes() {
				if !q.matchesNode(e.node) {
					continue
				}
				for _, c := range e.sortedChecks() {
					if wanted(c) {
						all = append(all, c)
					}
				}
			}
			kept, hidden := visible(all, a.readsCheck)
			kept, err := apply(f, kept)
			nearFirst(q.near, s.options.Node, kept, func(c *Check) string { return c.Node })
			return kept, hidden, err
		}}
	})
}
