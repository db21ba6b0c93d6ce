package chaos

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sigmas is how far from its expected number of requests an instance may be, in
// standard deviations: chance alone is farther off once in 500 million times.
const sigmas = 6

// aside is how far the number may be off in any case: where few are expected,
// chance has a longer tail than its deviation says.
const aside = 3

// judgeShares compares what each instance of a Shared service got with its weight.
// Only requests count that began while all instances were ready, and only where
// they were sent first.
func (e *episode) judgeShares() {
	if e.lax() || e.ledger.kept() > tooLate {
		return
	}
	for _, s := range e.Services {
		switch r := e.cluster.rules[s.Name]; {
		case s.Flavour != Shared:
		case strings.HasPrefix(r.lb, "hash"):
			e.judgeKeys(s, e.drawn(s), r.lb)
		default:
			t, slack := newTally(e.weights(s)), 0.0
			for _, p := range e.drawn(s) {
				t.take(p)
				slack += float64(p.repeats)
			}
			if r.lb == "least" {
				// What is in flight corrects the draw: it may be off by a fiftieth.
				slack += 0.02 * float64(t.requests)
			}
			for _, text := range t.off(slack) {
				e.ledger.find("shares", s.Name, "lb=%s: %s", r.lb, text)
			}
		}
	}
}

// drawn is a request that was given an instance while all were ready.
type drawn struct {
	key     string   // that lb=hash goes by
	among   []string // all instances
	first   string   // the one that it was sent to
	repeats int      // how often it was sent again: each one may have taken another's turn
}

// settles is how long after its first byte a request is given its instance.
const settles = 50 * time.Millisecond

// drawn returns the requests of a service that are judged, in order of time.
func (e *episode) drawn(s *Service) (list []drawn) {
	for _, o := range e.ordered(s) {
		until := o.began.Add(settles + 2*e.ledger.kept())
		among, sure := e.looks.ready(s.Name, o.began, until)
		for _, name := range among {
			i := e.cluster.named(name)
			sure = sure && i != nil && i.there(until)
		}
		all := e.ledger.arrivals[o.request]
		if !sure || len(all) == 0 || e.cluster.rules[s.Name].lb == "least" && !e.calm(s, o) {
			continue
		}
		key := "" // the client's address
		if strings.HasPrefix(e.cluster.rules[s.Name].lb, "hash:header") {
			key = strings.Join(o.request.Fields, ";")
		}
		list = append(list, drawn{key: key, among: among, first: all[0].instance.name, repeats: len(all) - 1})
	}
	return list
}

// ordered returns what a service's clients saw, by when it began.
func (e *episode) ordered(s *Service) (list []*outcome) {
	for q, o := range e.ledger.outcomes {
		if q.Service == s {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *outcome) int { return a.began.Compare(b.began) })
	return list
}

// calm reports whether no instance was so slow, as its clients saw it, that lb=least
// may have avoided it: more than twice as slow as planned and by more than a
// millisecond, on average over the last few requests before this one.
func (e *episode) calm(s *Service, before *outcome) bool {
	ended := e.ordered(s)
	ended = slices.DeleteFunc(ended, func(o *outcome) bool { return !o.ended.Before(before.began) || o.status != 200 })
	slices.SortFunc(ended, func(a, b *outcome) int { return a.ended.Compare(b.ended) })
	average := make(map[string]time.Duration)
	for _, o := range ended {
		took := o.ended.Sub(o.began)
		if old, known := average[o.instance]; known {
			took = old + (took-old)/8
		}
		average[o.instance] = took
	}
	takes := before.request.Answers[len(before.request.Answers)-1].Delay
	for _, a := range average {
		if a > max(2*takes, takes+time.Millisecond)*9/10 {
			return false
		}
	}
	return true
}

// weights are those of a service's instances, by name.
func (e *episode) weights(s *Service) func(name string) float64 {
	return func(name string) float64 {
		i := e.cluster.named(name)
		for _, tag := range s.Own[i.own%len(s.Own)] {
			if value, ok := strings.CutPrefix(tag, "ingress.weight="); ok {
				n, _ := strconv.Atoi(value)
				return float64(n)
			}
		}
		return float64(i.rules.weight)
	}
}

// tally counts requests by instance, beside what is expected.
type tally struct {
	weight                  func(string) float64
	requests                int
	got, expected, variance map[string]float64
}

func newTally(weight func(string) float64) *tally {
	return &tally{weight: weight, got: make(map[string]float64), expected: make(map[string]float64), variance: make(map[string]float64)}
}

func (t *tally) take(d drawn) {
	sum := 0.0
	for _, name := range d.among {
		sum += t.weight(name)
	}
	for _, name := range d.among {
		share := t.weight(name) / sum
		t.expected[name] += share
		t.variance[name] += share * (1 - share)
	}
	t.got[d.first]++
	t.requests++
}

// off returns the instances that got more or fewer requests than chance and slack
// explain.
func (t *tally) off(slack float64) (list []string) {
	for name, want := range t.expected {
		bound := sigmas*math.Sqrt(t.variance[name]) + aside + slack
		if got := t.got[name]; math.Abs(got-want) > bound {
			list = append(list, fmt.Sprintf("%s got %.0f of %d requests, its weight is %.0f of them, and %.0f more or fewer are explained", name, got, t.requests, want, bound))
		}
	}
	slices.Sort(list)
	return list
}

// judgeKeys checks where lb=hash sends each key: always to the same instance while the
// instances are the same; when instances come or go, only to one that came. The keys
// are distributed by weight.
func (e *episode) judgeKeys(s *Service, all []drawn, lb string) {
	t := newTally(e.weights(s))
	last := make(map[string]drawn) // by key
	for _, d := range all {
		before, known := last[d.key]
		last[d.key] = d
		switch {
		case !known:
			t.take(d)
		case before.first != d.first && slices.Contains(d.among, before.first) && slices.Contains(before.among, d.first):
			e.ledger.find("shares", s.Name, "lb=%s: %q went to %s, then to %s, and both were there each time", lb, d.key, before.first, d.first)
			return
		}
	}
	for _, text := range t.off(0) {
		e.ledger.find("shares", s.Name, "lb=%s, keys: %s", lb, text)
	}
}
