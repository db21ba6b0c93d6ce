package claims

import (
	"slices"
	"time"

	"serai/router"
)

// absence is a claimant in the record that is not seen here.
type absence struct {
	since time.Time
	// seen says that it was seen before, so this node has seen its end.
	seen bool
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
	var over []string
	for name, claimants := range w.known(r) {
		kept := claimants
		c, ok := seen[name]
		if r.order[name] == nil && !worthIt(c) {
			continue // it was lost, and does not go on here
		}
		if ok {
			var wait time.Duration
			kept, wait = w.remaining(name, join(claimants, c.Claimants), c, v.Complete, now)
			if wait > 0 && (again == 0 || wait < again) {
				again = wait
			}
		}
		if len(kept) < 2 {
			if r.order[name] != nil {
				over = append(over, name)
				changed = true
			}
			continue
		}
		room.take(name, kept)
		next.order[name] = kept
		changed = changed || !slices.EqualFunc(kept, r.order[name], router.Claimant.Same)
	}
	w.forget(r)
	for _, c := range v.Contests { // sorted: all nodes leave out the same ones
		if next.order[c.Name] != nil || r.order[c.Name] != nil || v.Agreed < w.ended[c.Name] || !worthIt(c) {
			continue
		}
		if c.Claimants = recordable(c.Claimants); len(c.Claimants) < 2 {
			next.leftOut++
			continue
		}
		if !room.fits(c.Name, c.Claimants) {
			next.leftOut++
			continue
		}
		room.take(c.Name, c.Claimants)
		next.order[c.Name] = c.Claimants
		changed = true
	}
	slices.Sort(over)
	next.ended = lately(r.ended, over, next.order, maxEnded-max(0, room.total+maxEnded-maxVariable))
	return next, changed, again
}

// worthIt reports whether a contest is one: one claimant exists, and another may come
// back.
func worthIt(c router.Contest) bool {
	return len(c.Claimants) > 1 && slices.ContainsFunc(c.Claimants, func(c router.Claimant) bool { return c.Instances })
}

// remaining returns the claimants that exist, or that may not be over. Wait is when
// that changes without an event.
func (w *work) remaining(name string, claimants []router.Claimant, c router.Contest, complete bool, now time.Time) (kept []router.Claimant, wait time.Duration) {
	for _, one := range claimants {
		word, _ := encodeClaimant(router.Claimant{Key: one.Key, Conditions: one.Conditions})
		id := name + "\n" + word
		a := w.gone[id]
		switch {
		case slices.ContainsFunc(c.Claimants, one.Same):
			w.gone[id] = absence{seen: true}
		case !complete || !w.options.Watched(one.Namespace):
			a.since = time.Time{}
			w.gone[id] = a
		default:
			if a.since.IsZero() {
				a.since = now
				w.gone[id] = a
			}
			over := w.options.Linger
			if a.seen {
				over = settled
			}
			left := over - now.Sub(a.since)
			if left <= 0 {
				continue
			}
			if wait == 0 || left < wait {
				wait = left
			}
		}
		kept = append(kept, one)
	}
	return kept, wait
}

// forget drops the state of claimants that are not in the record.
func (w *work) forget(r Record) {
	if len(w.gone) == 0 {
		return
	}
	known := make(map[string]bool)
	for name, claimants := range w.known(r) {
		for _, one := range claimants {
			word, _ := encodeClaimant(router.Claimant{Key: one.Key, Conditions: one.Conditions})
			known[name+"\n"+word] = true
		}
	}
	for id := range w.gone {
		if !known[id] {
			delete(w.gone, id)
		}
	}
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
			if o.Namespace == c.Namespace && o.Job == c.Job && o.Job != "" && o.Conditions == c.Conditions {
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
