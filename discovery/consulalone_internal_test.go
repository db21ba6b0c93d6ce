package discovery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"serai/consul"
)

// pair is a service, web, which carries our tags, and a sidecar of it to which they have been
// copied, as they are known; nothing is asked of anybody.
type pair struct {
	*consulRun
	web, side *followed
	index     uint64
	filtered  bool // as the answers say
}

func pairOf(t *testing.T) *pair {
	p := &pair{consulRun: runOf(t, ConsulOptions{}), index: 100}
	follow := func(name string) *followed {
		f := &followed{name: name, key: Key{ConsulNamespace, name}, listed: true, known: true}
		p.followed[name] = f
		return f
	}
	p.web, p.side = follow("web"), follow("web-sidecar-proxy")
	p.answer(true, p.web, taggedEntry("1", 10))
	p.answer(true, p.side, taggedSidecar("1", 11))
	p.has(t, "at the start", "n1/1")
	return p
}

func taggedEntry(id string, index uint64) consul.Entry {
	e := meshedEntry(id, index)
	e.Service.Tags = []string{"ingress.host=a"}
	return e
}

func taggedSidecar(id string, index uint64) consul.Entry {
	e := sidecarEntry(id, index)
	e.Service.Tags = []string{"ingress.host=a"}
	return e
}

// answer is an answer about a service, of the leader if surely, and what the loop does with each.
func (p *pair) answer(surely bool, f *followed, entries ...consul.Entry) {
	p.index++
	p.believe(f, &consulListing{entries: entries, meta: consul.Meta{Index: p.index, Filtered: p.filtered}}, surely, time.Now())
	if p.dirty {
		p.settleAlone()
	}
	p.dirty = false
}

// has compares which instances are known.
func (p *pair) has(t *testing.T, when string, want ...string) {
	t.Helper()
	var has []string
	for _, s := range p.services {
		for _, i := range s.Instances {
			has = append(has, i.ID)
		}
	}
	if slices.Sort(has); !slices.Equal(has, want) {
		t.Errorf("%s: there is %v, want %v", when, has, want)
	}
}

// TestConsulSidecarStaysOut: while a service stays that an answer lacks, because nothing is
// removed for now, or because the token may not read it, its sidecar does not come, nor come and
// go with each answer.
func TestConsulSidecarStaysOut(t *testing.T) {
	for name, lack := range map[string]func(p *pair){
		"held": func(p *pair) {
			p.hold(1, 2)
			p.answer(true, p.web)
		},
		"hidden": func(p *pair) {
			p.filtered = true
			p.answer(true, p.web)
			p.filtered = false
		},
	} {
		p := pairOf(t)
		for n := range 4 {
			lack(p)
			p.has(t, name, "n1/1")
			if p.side.awaited || p.side.alone || p.web.yields {
				t.Errorf("%s, answer %d: the sidecar is awaited %v, alone %v; the service yields %v", name, n, p.side.awaited, p.side.alone, p.web.yields)
			}
			p.answer(true, p.side, taggedSidecar("1", 11))
			p.has(t, name+", and its sidecar read", "n1/1")
		}
	}
}

// TestConsulSidecarComesOnce: a sidecar that takes the place of its service comes once, whatever
// else changes until the service has gone, also where that is held up.
func TestConsulSidecarComesOnce(t *testing.T) {
	for name, held := range map[string]bool{"at once": false, "held up": true} {
		p := pairOf(t)
		p.answer(true, p.web)
		if p.has(t, name+": the service has gone", "n1/1"); !p.side.awaited || !p.side.queued {
			t.Fatalf("%s: the sidecar is awaited %v, to be read %v", name, p.side.awaited, p.side.queued)
		}
		p.answer(true, p.side, taggedSidecar("1", 11))
		if p.has(t, name+": the sidecar has come", "n1/1", "n1/1-sidecar-proxy"); !p.web.queued || !p.web.surely {
			t.Errorf("%s: the service is to be read %v, surely %v", name, p.web.queued, p.web.surely)
		}
		if held {
			p.hold(1, 2)
		}
		for range 3 {
			p.answer(false, p.web)
			p.dirty = true // by another service
			p.answer(held, p.web)
			p.has(t, name+": it is asked for again", "n1/1", "n1/1-sidecar-proxy")
		}
		p.held = time.Time{}
		p.answer(true, p.web)
		p.has(t, name+": the end of it", "n1/1-sidecar-proxy")
		p.answer(true, p.web, taggedEntry("1", 200))
		p.has(t, name+": the service is back", "n1/1")
	}
}

// TestConsulServiceComesBack: a service that has tags again before its sidecar has been read is
// the way to itself.
func TestConsulServiceComesBack(t *testing.T) {
	p := pairOf(t)
	p.answer(true, p.web)
	p.answer(true, p.web, taggedEntry("1", 10))
	p.answer(true, p.side, taggedSidecar("1", 11))
	p.dirty = true
	p.answer(true, p.web, taggedEntry("1", 10))
	p.has(t, "at the end", "n1/1")
}

// TestConsulServiceStopsWithItsSidecar: a service that stops together with its sidecar does not
// wait for that until the next change of it, which never comes.
func TestConsulServiceStopsWithItsSidecar(t *testing.T) {
	for name, gone := range map[string]func(p *pair){
		"the sidecar has gone":              func(p *pair) { p.answer(true, p.side) },
		"the sidecar cannot be read":        func(p *pair) { p.failed(p.side, &consul.Error{Kind: consul.ErrUnavailable}) },
		"the sidecar is not followed":       func(p *pair) { p.side.listed = false; p.leave(p.side) },
		"the sidecar is one of another one": func(p *pair) { p.answer(true, p.side, sidecarOfAnother()) },
	} {
		p := pairOf(t)
		p.answer(true, p.web)
		p.queue, p.web.queued = nil, false
		gone(p)
		if !p.web.queued {
			t.Errorf("%s: the service waits for it", name)
		}
		p.answer(true, p.web)
		if p.services[p.web.key] != nil {
			t.Errorf("%s: the service is still known", name)
		}
	}
}

func sidecarOfAnother() consul.Entry {
	e := taggedSidecar("1", 11)
	e.Service.Proxy.DestinationServiceName = "other"
	return e
}

// TestConsulSidecarAmongInstances: where somebody registers a sidecar of another service under the
// name of one, it comes and goes with its own service, and the instances stay.
func TestConsulSidecarAmongInstances(t *testing.T) {
	p := pairOf(t)
	p.answer(true, p.web, taggedEntry("1", 10), func() consul.Entry {
		e := sidecarOfAnother()
		e.Service.Service = "web"
		return e
	}())
	p.has(t, "with a stranger's sidecar", "n1/1", "n1/1-sidecar-proxy")
	other := &followed{name: "other", key: Key{ConsulNamespace, "other"}, listed: true, known: true}
	p.followed["other"] = other
	e := taggedEntry("3", 12)
	e.Service.Service = "other"
	p.answer(true, other, e)
	p.has(t, "when its service has come", "n1/1", "n1/3")
}

// TestConsulSidecarsOfEachOther: sidecars that stand for each other, or for themselves, are no way
// to anything, in whatever order they are read.
func TestConsulSidecarsOfEachOther(t *testing.T) {
	for range 20 {
		p := &pair{consulRun: runOf(t, ConsulOptions{}), index: 100}
		names := []string{"a", "b", "self"}
		for _, name := range names {
			p.followed[name] = &followed{name: name, key: Key{ConsulNamespace, name}, listed: true, known: true}
		}
		for range 5 {
			for n, of := range []string{"b", "a", "self"} {
				e := taggedSidecar(fmt.Sprint(n), 11)
				e.Service.Service, e.Service.Proxy.DestinationServiceName = names[n], of
				p.answer(true, p.followed[names[n]], e)
				p.dirty = true
			}
		}
		p.queue = nil
		p.settleAlone()
		if len(p.queue) > 0 {
			t.Errorf("%d are read again and again", len(p.queue))
		}
		p.has(t, "of each other")
	}
}
