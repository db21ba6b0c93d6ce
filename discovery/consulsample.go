package discovery

import (
	"context"
	"strings"
	"time"

	"serai/consul"
)

// spot is a service on a node, or the node itself, when id is empty.
type spot struct{ node, id string }

// sample begins to follow which checks are not passing, while some services have no query
// of their own. Those lists are short, and tell of each change of health; all others show
// in the list of services.
func (r *consulRun) sample() {
	for _, state := range []string{consul.Critical, consul.Warning} {
		if !r.sampling[state] {
			r.sampling[state] = true
			r.askChecks(state, 0, 0)
		}
	}
}

func (r *consulRun) askChecks(state string, index uint64, after time.Duration) {
	q := consul.Query{Index: index, Wait: r.wait(r.listed, forEachListed)}
	r.do(r.asks, after, func(ctx context.Context) func() {
		began := time.Now()
		spots, full := make(map[spot]bool), r.options.Store.rows()
		meta, err := r.options.Client.EachCheck(ctx, state, q, func(node, service string) {
			if _, room := full.take(ConsulNamespace, size{1, rowBytes + len(node) + len(service)}); room {
				spots[spot{node, service}] = true
			}
		})
		return func() {
			of := "the " + state + " checks"
			if err != nil {
				r.trouble(of, err)
				r.askChecks(state, 0, r.pause.next(err))
				return
			}
			r.well(of)
			if len(r.followed) <= r.watching {
				delete(r.sampling, state)
				return
			}
			r.sampled(state, spots)
			r.askChecks(state, meta.Index, pace(index, &meta, began))
		}
	})
}

// sampled has those services read of which the list of checks says something else than what
// is known, or than it said before.
func (r *consulRun) sampled(state string, now map[spot]bool) {
	before := r.samples[state]
	r.samples[state] = now
	counts := state == consul.Critical || !r.options.Warning
	for _, f := range r.followed {
		s := r.services[f.key]
		if f.watched || s == nil {
			continue
		}
		for _, i := range s.Instances {
			at, on := spot{i.Node, strings.TrimPrefix(i.ID, i.Node+"/")}, spot{i.Node, ""}
			if side := (spot{i.Node, sidecarID(i)}); side.id != "" && !i.Sidecar.Only {
				bad := now[side] || now[on]
				if bad != (before[side] || before[on]) || counts && bad && i.Sidecar.Unfit == "" || i.Sidecar.Unfit == inConsul(state) && !bad {
					r.enqueue(f, true)
					break
				}
			}
			bad := now[at] || now[on]
			if bad != (before[at] || before[on]) || counts && bad && i.Unfit == "" {
				r.enqueue(f, true)
				break
			}
			if i.Unfit == inConsul(state) && !bad {
				r.enqueue(f, true)
				break
			}
		}
	}
}

// sidecarID is the ID of an instance's sidecar, empty for none.
func sidecarID(i *Instance) string {
	if i.Sidecar == nil {
		return ""
	}
	return i.Sidecar.ID
}

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
	case !f.queued && !f.later:
		f.later = true
		r.all = append(r.all, f)
	}
}

// nextOfAll is the next service whose turn it is, nil when there is none, or none yet.
func (r *consulRun) nextOfAll() *followed {
	for len(r.all) > 0 {
		f := r.all[0]
		if !f.later || f.queued || r.followed[f.name] != f {
			f.later = false
			r.all = r.all[1:] // it has been read, will be, or is gone
			continue
		}
		if r.paused {
			return nil
		}
		if !r.pace.Allow() {
			r.paused = true
			r.do(r.asks, time.Second/allRate, func(context.Context) func() { return func() { r.paused = false } })
			return nil
		}
		r.all = r.all[1:]
		return f
	}
	return nil
}
