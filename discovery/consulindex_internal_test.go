package discovery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"serai/consul"
)

// runOf is a run that has read everything, which nobody drives; it ends with the test.
func runOf(t *testing.T, o ConsulOptions) *consulRun {
	t.Helper()
	client, err := consul.NewClient(consul.Options{Address: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	o.Client = client
	c, err := NewConsul(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	r := c.newRun(ctx, &running)
	r.asks, r.end = context.WithCancel(ctx)
	t.Cleanup(r.end)
	r.complete, r.catalog = true, 1
	return r
}

// know has an instance of web, and its sidecar if it has one, known as of two indexes.
func (r *consulRun) know(f *followed, l *consulListing) {
	r.apply(f, l, true, time.Now())
}

// meshedEntry is an instance of web with connect=on as of an index, sidecarEntry its sidecar.
func meshedEntry(id string, index uint64) consul.Entry {
	e := entryOf(id)
	e.Service.Tags, e.Service.ModifyIndex = []string{"ingress.host=a", "ingress.connect=on"}, index
	return e
}

func sidecarEntry(id string, index uint64) consul.Entry {
	e := entryOf(id + "-sidecar-proxy")
	e.Service.Service, e.Service.Kind, e.Service.ModifyIndex = "web-sidecar-proxy", consul.Sidecar, index
	e.Service.Proxy = consul.Proxy{DestinationServiceName: "web", DestinationServiceID: id}
	return e
}

// TestConsulIndexesOfTwoLists: each of the lists has an index of its own. That the sidecars
// have changed later than an instance has gone does not mean that Consul has forgotten
// something, and nor does the opposite; an index of the same list that is no newer does.
func TestConsulIndexesOfTwoLists(t *testing.T) {
	list := func(index, sidecars uint64, entries, sides []consul.Entry) *consulListing {
		return &consulListing{entries: entries, sidecars: sides, meta: consul.Meta{Index: index}, ofSidecars: consul.Meta{Index: sidecars}, meshed: sidecars > 0}
	}
	others := func(l *consulListing, index uint64) *consulListing {
		l.others = map[string]uint64{"web-sidecar-proxy": index}
		return l
	}
	moved := func(l *consulListing, id string, index uint64) *consulListing {
		l.moved = map[string]uint64{"n1/" + id: index}
		return l
	}
	one, two := meshedEntry("1", 10), meshedEntry("2", 11)
	for name, c := range map[string]struct {
		next  *consulListing
		holds bool
		has   []string
		lost  bool // the sidecar of the second
	}{
		"gone after the last change, before its sidecar's": {list(20, 30, []consul.Entry{one}, []consul.Entry{sidecarEntry("1", 12)}), false, []string{"n1/1"}, false},
		"gone, and nobody is in the mesh any more":         {list(20, 0, []consul.Entry{entryOf("1")}, nil), false, []string{"n1/1"}, false},
		"a sidecar that has gone":                          {list(11, 31, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12)}), false, []string{"n1/1", "n1/2"}, true},
		"gone at an index that is no newer":                {list(11, 31, []consul.Entry{one}, []consul.Entry{sidecarEntry("1", 12)}), true, []string{"n1/1", "n1/2"}, false},
		"that of another service since":                    {moved(list(11, 31, []consul.Entry{one}, []consul.Entry{sidecarEntry("1", 12)}), "2", 12), false, []string{"n1/1"}, false},
		"that of another service, as long as it is known":  {moved(list(11, 31, []consul.Entry{one}, []consul.Entry{sidecarEntry("1", 12)}), "2", 11), true, []string{"n1/1", "n1/2"}, false},
		"another one is that of another service":           {moved(list(11, 31, []consul.Entry{one}, []consul.Entry{sidecarEntry("1", 12)}), "3", 40), true, []string{"n1/1", "n1/2"}, false},
		"a sidecar that is another service since":          {moved(list(40, 30, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12)}), "2-sidecar-proxy", 31), false, []string{"n1/1", "n1/2"}, true},
		"a sidecar whose service has a list of its own":    {others(list(11, 29, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12)}), 31), false, []string{"n1/1", "n1/2"}, true},
		"one of which that list is no newer":               {others(list(11, 31, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12)}), 30), true, []string{"n1/1", "n1/2"}, false},
		"a sidecar that has gone at one that is no newer":  {list(40, 30, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12)}), true, []string{"n1/1", "n1/2"}, false},
	} {
		r := runOf(t, ConsulOptions{})
		f := &followed{name: "web", key: Key{ConsulNamespace, "web"}, listed: true, known: true}
		r.followed["web"] = f
		r.know(f, list(15, 30, []consul.Entry{one, two}, []consul.Entry{sidecarEntry("1", 12), sidecarEntry("2", 30)}))
		r.know(f, c.next)
		var has []string
		lost := false
		for _, i := range r.services[f.key].Instances {
			has = append(has, i.ID)
			lost = lost || i.ID == "n1/2" && i.Sidecar == nil
		}
		if r.holding() != c.holds || !slices.Equal(has, c.has) || lost != c.lost {
			t.Errorf("%s: holds %v, %v, lost %v; want %v, %v, %v", name, r.holding(), has, lost, c.holds, c.has, c.lost)
		}
	}
}

// TestConsulSamples: a service without a query of its own is read where a list of checks says
// something else than what is known, also of a sidecar, and of what has changed twice between
// two lists.
func TestConsulSamples(t *testing.T) {
	bad := func(ids ...string) map[spot]bool {
		all := make(map[spot]bool)
		for _, id := range ids {
			all[spot{"n1", id}] = true
		}
		return all
	}
	critical := []consul.Check{{Node: "n1", CheckID: "c", Status: consul.Critical}}
	for name, c := range map[string]struct {
		state         string
		unfit, side   bool // critical, as it is known
		before, now   map[spot]bool
		fresh         string
		warning, read bool
	}{
		"nothing new":                        {state: consul.Critical},
		"still critical":                     {state: consul.Critical, unfit: true, before: bad("1"), now: bad("1")},
		"critical now":                       {state: consul.Critical, now: bad("1"), read: true},
		"passes now":                         {state: consul.Critical, unfit: true, before: bad("1"), read: true},
		"passes since between two lists":     {state: consul.Critical, unfit: true, read: true},
		"critical, as before, but not known": {state: consul.Critical, before: bad("1"), now: bad("1"), read: true},
		"the node":                           {state: consul.Critical, now: bad(""), read: true},
		"the sidecar":                        {state: consul.Critical, now: bad("1-sidecar-proxy"), read: true},
		"the sidecar, still":                 {state: consul.Critical, side: true, before: bad("1-sidecar-proxy"), now: bad("1-sidecar-proxy")},
		"the sidecar passes now":             {state: consul.Critical, side: true, before: bad("1-sidecar-proxy"), read: true},
		"the sidecar passes since between two lists":      {state: consul.Critical, side: true, read: true},
		"the sidecar is critical, as before, not known":   {state: consul.Critical, before: bad("1-sidecar-proxy"), now: bad("1-sidecar-proxy"), read: true},
		"the sidecar warns, as before, and may":           {state: consul.Warning, warning: true, before: bad("1-sidecar-proxy"), now: bad("1-sidecar-proxy")},
		"somebody else's":                                 {state: consul.Critical, now: bad("2", "2-sidecar-proxy"), fresh: "webs"},
		"a new one":                                       {state: consul.Critical, now: bad("2"), fresh: "web", read: true},
		"a new one, which warns":                          {state: consul.Warning, now: bad("2"), fresh: "web", read: true},
		"a new one, still":                                {state: consul.Critical, before: bad("2"), now: bad("2")},
		"a new sidecar":                                   {state: consul.Critical, now: bad("2-sidecar-proxy"), fresh: "web-sidecar-proxy", read: true},
		"critical, of what is critical: not the warnings": {state: consul.Warning, unfit: true, side: true},
	} {
		r := runOf(t, ConsulOptions{Warning: c.warning})
		f := &followed{name: "web", key: Key{ConsulNamespace, "web"}, listed: true, known: true}
		r.followed["web"] = f
		entry, side := meshedEntry("1", 10), sidecarEntry("1", 11)
		if c.unfit {
			entry.Checks = critical
		}
		if c.side {
			side.Checks = critical
		}
		r.know(f, &consulListing{entries: []consul.Entry{entry}, sidecars: []consul.Entry{side}, meta: consul.Meta{Index: 12}, ofSidecars: consul.Meta{Index: 12}, meshed: true})
		r.samples[c.state] = c.before
		r.sampled(c.state, c.now, map[string]bool{c.fresh: true})
		if f.queued != c.read {
			t.Errorf("%s: is read %v, want %v", name, f.queued, c.read)
		}
	}
}

// TestConsulAllAreReadAtARate: that something has changed somewhere has all services read that
// have no query of their own, in turn and at a rate, however often something changes; what is
// known to have changed comes first.
func TestConsulAllAreReadAtARate(t *testing.T) {
	r := runOf(t, ConsulOptions{})
	r.pace = rate.NewLimiter(rate.Every(time.Hour), 5)
	ours := make(map[string]bool)
	for n := range 20 {
		f := &followed{name: fmt.Sprint("s", n), key: Key{ConsulNamespace, fmt.Sprint("s", n)}, listed: true, known: true}
		r.followed[f.name], ours[f.name] = f, true
	}
	asked := make(map[string]int)
	turn := func() {
		r.drain()
		for _, f := range r.followed {
			if f.reading {
				asked[f.name]++
				r.giveUp(f) // as if it had been read
			}
		}
	}
	for index := range uint64(10) {
		r.list(ours, consul.Meta{Index: 10 + index})
		turn()
	}
	if len(asked) != 5 {
		t.Errorf("%d services have been read, and %d wait: %v", len(asked), len(r.all), asked)
	}
	late := r.all[len(r.all)-1]
	was := asked[late.name]
	r.enqueue(late, true)
	if turn(); asked[late.name] != was+1 {
		t.Error("a service that has changed waits for all others")
	}
	r.pace.SetLimit(rate.Inf)
	r.paused = false
	for len(r.all) > 0 {
		turn()
	}
	if len(asked) != 20 || asked[late.name] != was+1 {
		t.Errorf("read are %v", asked)
	}
}

// TestConsulAllHaveTheirTurn: services that change all the time do not keep those from being read
// that may have changed, nor the other way round.
func TestConsulAllHaveTheirTurn(t *testing.T) {
	r := runOf(t, ConsulOptions{})
	r.pace = rate.NewLimiter(rate.Inf, 1)
	var all []*followed
	for n := range 120 {
		f := &followed{name: fmt.Sprint("s", n), key: Key{ConsulNamespace, fmt.Sprint("s", n)}, listed: true, known: true}
		r.followed[f.name] = f
		if all = append(all, f); n >= 20 {
			r.lookAgain(f)
		}
	}
	asked, changes := make(map[*followed]int), 0
	for range 100 {
		for _, f := range append(all[:20:20], all[119]) {
			r.enqueue(f, true)
		}
		r.drain()
		for _, f := range all {
			if f.reading && f.queued {
				t.Fatalf("%s is read, and is to be read", f.name)
			}
		}
		if r.reading > maxReads {
			t.Fatalf("%d services are read at once", r.reading)
		}
		for _, f := range all {
			if f.reading {
				asked[f]++
				r.giveUp(f) // as if it had been read
			}
		}
	}
	for n, f := range all {
		switch {
		case n < 20 || n == 119:
			changes += asked[f]
		case asked[f] != 1:
			t.Errorf("%s, which may have changed, has been read %d times", f.name, asked[f])
		}
	}
	if changes < 1000 {
		t.Errorf("services that change have been read %d times", changes)
	}
}
