package claims

import (
	"maps"
	"slices"
	"time"

	"serai/router"
)

// claimantIn names a claimant in a contest.
type claimantIn struct {
	contest  string
	claimant router.Claimant // without what may change: its job, its instances
}

func identify(contest string, c router.Claimant) claimantIn {
	return claimantIn{contest, router.Claimant{Key: c.Key, Conditions: c.Conditions}}
}

// sighting is what this node has seen of a claimant in the record.
type sighting struct {
	// seen says that the claimant was here, so this node has seen its end if it is gone.
	seen bool
	// goneSince is zero while it is here, and while nobody can tell.
	goneSince time.Time
}

// settled is how long a claimant whose end was seen must be gone: a moment, so that the
// order of two messages does not matter.
const settled = time.Second

// plan returns the record as this node would write it: with new contests and claimants,
// each after the existing ones, and without those that are gone. Again is when the plan
// may change without any event, 0 for never.
func (w *work) plan(r Record, v View, now time.Time) (next Record, changed bool, again time.Duration) {
	next = Record{order: make(router.Agreement, len(r.order)), version: r.version}
	room := newRoom()
	seen := make(map[string]router.Contest, len(v.Contests))
	for _, c := range v.Contests {
		seen[c.Name] = c
	}
	// A known contest goes on while it has two claimants. What this node does not see of
	// it stays as it is.
	for name, claimants := range w.known(r) {
		c, here := seen[name]
		if lost := r.order[name] == nil; lost && !worthRecording(c) {
			continue
		}
		if here {
			var wait time.Duration
			claimants, wait = w.remaining(c, join(claimants, c.Claimants), v.Complete, now)
			again = sooner(again, wait)
		}
		if len(claimants) > 1 {
			room.take(name, claimants)
			next.order[name] = claimants
		}
	}
	w.forget(r)
	for _, c := range v.Contests { // sorted: all nodes leave out the same ones
		known := next.order[c.Name] != nil || r.order[c.Name] != nil
		if known || v.Agreed < w.ended[c.Name] || !worthRecording(c) {
			continue
		}
		claimants := recordable(c.Claimants)
		if len(claimants) < 2 || !room.fits(c.Name, claimants) {
			next.leftOut++
			continue
		}
		room.take(c.Name, claimants)
		next.order[c.Name] = claimants
	}
	var over []string
	for name := range r.order {
		if next.order[name] == nil {
			over = append(over, name)
		}
	}
	slices.Sort(over)
	next.ended = lately(r.ended, over, next.order, min(maxEnded, maxVariable-room.total))
	return next, !sameOrder(next.order, r.order), again
}

// worthRecording reports whether the order of a contest matters: one claimant exists, and
// another may come back.
func worthRecording(c router.Contest) bool {
	return len(c.Claimants) > 1 && slices.ContainsFunc(c.Claimants, func(c router.Claimant) bool { return c.Instances })
}

// sameOrder compares the claimants of all contests.
func sameOrder(a, b router.Agreement) bool {
	return maps.EqualFunc(a, b, func(a, b []router.Claimant) bool { return slices.EqualFunc(a, b, router.Claimant.Same) })
}

// sooner returns the shorter of two waits, of which 0 means for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// remaining returns those of the claimants that the contest has here, or that may come
// back. Wait is when one of them will be gone without any event, 0 for never.
func (w *work) remaining(c router.Contest, claimants []router.Claimant, complete bool, now time.Time) (kept []router.Claimant, wait time.Duration) {
	for _, one := range claimants {
		id := identify(c.Name, one)
		s := w.sightings[id]
		switch {
		case slices.ContainsFunc(c.Claimants, one.Same):
			s = sighting{seen: true}
		case !complete || w.unwatched(one): // it may exist, unseen
			s.goneSince = time.Time{}
		case s.goneSince.IsZero():
			s.goneSince = now
		}
		w.sightings[id] = s
		if !s.goneSince.IsZero() {
			allowed := w.options.Linger
			if s.seen {
				allowed = settled
			}
			left := allowed - now.Sub(s.goneSince)
			if left <= 0 {
				continue
			}
			wait = sooner(wait, left)
		}
		kept = append(kept, one)
	}
	return kept, wait
}

// forget drops the sightings of claimants that are not in the record.
func (w *work) forget(r Record) {
	if len(w.sightings) == 0 {
		return
	}
	known := make(map[claimantIn]bool)
	for name, claimants := range w.known(r) {
		for _, one := range claimants {
			known[identify(name, one)] = true
		}
	}
	maps.DeleteFunc(w.sightings, func(id claimantIn, _ sighting) bool { return !known[id] })
}

// maxClaimants bounds the claimants of one contest.
const maxClaimants = 8

// join appends new claimants that can be recorded, but puts a service that a job registers under
// a new name right after the old name.
func join(claimants, present []router.Claimant) []router.Claimant {
	joined := slices.Clone(claimants)
	for _, c := range recordable(present) {
		if !c.Instances || len(joined) >= maxClaimants || slices.ContainsFunc(joined, c.Same) {
			continue
		}
		at := len(joined)
		for i, o := range joined {
			if c.SameJob(o) {
				at = i + 1
			}
		}
		joined = slices.Insert(joined, at, c)
	}
	return joined
}

// room counts the bytes of a record.
type room struct {
	total  int
	shares map[string]int // by namespace
}

func newRoom() *room { return &room{shares: make(map[string]int)} }

// cost is the size of a contest, and the namespaces that it is counted for.
func cost(name string, claimants []router.Claimant) (bytes int, payers map[string]bool, ok bool) {
	text, ok := encodeClaimants(claimants)
	payers = make(map[string]bool)
	for _, c := range claimants[1:] {
		payers[c.Namespace] = true
	}
	return len(name) + len(text), payers, ok
}

func (r *room) fits(name string, claimants []router.Claimant) bool {
	bytes, payers, ok := cost(name, claimants)
	if !ok || r.total+bytes > maxItems {
		return false
	}
	for p := range payers {
		if r.shares[p]+bytes > maxShare {
			return false
		}
	}
	return true
}

func (r *room) take(name string, claimants []router.Claimant) {
	bytes, payers, _ := cost(name, claimants)
	r.total += bytes
	for p := range payers {
		r.shares[p] += bytes
	}
}
