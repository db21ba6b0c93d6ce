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
	q, before := consul.Query{Index: index, Wait: r.wait(r.listed, forEachListed)}, r.samples[state]
	r.do(r.asks, after, func(ctx context.Context) func() {
		began := time.Now()
		spots, fresh, full := make(map[spot]bool), make(map[string]bool), r.options.Store.rows()
		meta, err := r.options.Client.EachCheck(ctx, state, q, func(node, id, service string) {
			if _, room := full.take(ConsulNamespace, size{1, rowBytes + len(node) + len(id) + len(service)}); !room {
				return
			}
			at := spot{node, id}
			spots[at] = true
			if before != nil && !before[at] && service != "" {
				fresh[service] = true
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
			r.sampled(state, spots, fresh)
			r.askChecks(state, meta.Index, max(pace(index, &meta, began), r.turns[state].Reserve().Delay()))
		}
	})
}

// sampled has those services read of which the list of checks says something else than what
// is known, or than it said before. Fresh are the names of services that have a check in the list
// which it did not have before: a check of a new instance is critical until it has run, unless its
// registration says otherwise, and so this is how most of them are known at once.
func (r *consulRun) sampled(state string, now map[spot]bool, fresh map[string]bool) {
	before := r.samples[state]
	r.samples[state] = now
	counts := state == consul.Critical || !r.options.Warning
	differs := func(at, on spot, unfit string) bool {
		bad := now[at] || now[on]
		return bad != (before[at] || before[on]) || counts && bad && unfit == "" || unfit == inConsul(state) && !bad
	}
	for _, f := range r.followed {
		s := r.services[f.key]
		if f.watched || !f.known {
			continue
		}
		read := fresh[f.name]
		for n := 0; s != nil && !read && n < len(s.Instances); n++ {
			i := s.Instances[n]
			on := spot{i.Node, ""}
			read = differs(spot{i.Node, strings.TrimPrefix(i.ID, i.Node+"/")}, on, i.Unfit)
			if side := (spot{i.Node, sidecarID(i)}); side.id != "" && !i.Sidecar.Only {
				read = read || fresh[i.Sidecar.Name] || differs(side, on, i.Sidecar.Unfit)
			}
		}
		if read {
			r.enqueue(f, true)
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
