package discovery

import (
	"context"
	"slices"
	"time"
)

// How many services without a query of their own are read a second, and at once, when the list
// of services shows that something has changed somewhere: each is a request to the leader, of
// every serai.
const (
	allRate   = 100
	allAtOnce = 1000
)

// lookAgain has a service read in its turn, since it may have changed.
func (r *consulRun) lookAgain(f *followed) {
	f.surely = true
	switch {
	case f.asking:
		f.again = true
	case !f.queued:
		if f.later = true; !f.inAll {
			f.inAll = true
			r.all = append(r.all, f)
		}
	}
}

// Which services are in a deploy, and change again soon: a few of those whose instances have come
// or gone in a while.
const (
	inDeploy      = 10 * time.Minute
	mostInDeploys = 16
)

// lookAgainAtDeploys has those come first of all that are in a deploy, the latest first. What they
// take of the rate is bounded by turns: see nextOfAll.
func (r *consulRun) lookAgainAtDeploys() {
	r.deploys = r.deploys[:0]
	for _, f := range r.followed {
		if f.later && time.Since(f.moved) < inDeploy {
			r.deploys = append(r.deploys, f)
		}
	}
	slices.SortFunc(r.deploys, func(a, b *followed) int { return b.moved.Compare(a.moved) })
	r.deploys = r.deploys[:min(len(r.deploys), mostInDeploys)]
}

// sameIDs reports whether two lists have the same instances, whatever these are like.
func sameIDs(a, b []*Instance) bool {
	return slices.EqualFunc(a, b, func(x, y *Instance) bool { return x.ID == y.ID })
}

// nextOfAll is the next service whose turn it is, nil when there is none, or none yet. Those in
// deploys have every second turn.
func (r *consulRun) nextOfAll() *followed {
	for len(r.all) > 0 {
		from, deploy := &r.all, r.turnOfDeploy && len(r.deploys) > 0
		if deploy {
			from = &r.deploys
		}
		f := (*from)[0]
		wanted := f.later && !f.queued && r.followed[f.name] == f // otherwise it has been read, will be, or is gone
		if wanted && r.paused {
			return nil
		}
		if wanted && !r.pace.Allow() {
			r.paused = true
			r.do(r.asks, time.Second/allRate, func(context.Context) func() { return func() { r.paused = false } })
			return nil
		}
		*from = (*from)[1:]
		f.inAll = f.inAll && deploy
		if wanted {
			r.turnOfDeploy = !r.turnOfDeploy
			return f
		}
	}
	return nil
}
