package discovery

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// apply sets the instances of a service as an answer has them. What it lacks is removed
// only if that is certain.
func (r *consulRun) apply(f *followed, l *consulListing, surely bool, received time.Time) {
	was, listed := r.dirty, r.options.instances(l, f.alone)
	missing, lost := r.missing(f.key, listed), r.lostSidecars(f.key, listed)
	stay, tagged := slices.Concat(missing, lost), anyCarries(listed, r.prefix)
	certain := len(stay) == 0 || r.gone(f, missing, lost, l, surely)
	if !certain {
		listed = staying(listed, stay)
	}
	if r.yield(f, tagged, listed) {
		return
	}
	if certain {
		f.held = f.held && !surely
		if r.hidden[f.name] && (surely || f.listed) {
			delete(r.hidden, f.name)
			r.tell()
		}
	}
	before := r.instances(f.key)
	r.update(f.key, listed)
	if f.known && !sameIDs(before, r.instances(f.key)) {
		f.moved = received
	}
	if r.dirty && !was && r.complete {
		r.changed = received
		r.set(func(s *Status) { s.Events++ })
	}
}

// staying are the listed instances with those that stay as they are known, sorted by ID.
func staying(listed, stay []*Instance) []*Instance {
	slices.SortFunc(stay, byID)
	listed = slices.DeleteFunc(listed, func(i *Instance) bool {
		_, stays := slices.BinarySearchFunc(stay, i, byID)
		return stays
	})
	listed = slices.Concat(listed, stay)
	slices.SortFunc(listed, byID)
	return listed
}

// instances are what is known of a service, none when nothing is.
func (r *consulRun) instances(key Key) []*Instance {
	if s := r.services[key]; s != nil {
		return s.Instances
	}
	return nil
}

// missing are the known instances that are not among the listed ones.
func (r *consulRun) missing(key Key, listed []*Instance) (missing []*Instance) {
	for _, i := range r.instances(key) {
		if _, found := slices.BinarySearchFunc(listed, i, byID); !found {
			missing = append(missing, i)
		}
	}
	return missing
}

// gone reports whether instances that an answer lacks are gone, and the sidecars of lost ones.
// An agent answers 200 with a shorter list, or an empty one, also where the token may not read
// them, where its copy is behind, and where the servers began with nothing. So it is certain
// only when the leader says so, without having left anything out, as of an index of that list
// that is beyond what it says is gone, or lists it as another service since.
func (r *consulRun) gone(f *followed, missing, lost []*Instance, l *consulListing, surely bool) bool {
	var newest uint64
	for _, i := range missing {
		if index, _ := Position(i.Modified); l.moved[i.ID] <= index {
			newest = max(newest, index)
		}
	}
	forgotten := slices.IndexFunc(lost, func(i *Instance) bool {
		return max(l.asOf(i.Sidecar), l.moved[instanceID(i.Node, i.Sidecar.ID)]) <= i.Sidecar.Modified
	})
	switch {
	case r.holding():
		return false
	case !surely:
		r.enqueue(f, true)
		return false
	case l.joint().Filtered:
		if !r.hidden[f.name] {
			r.hidden[f.name] = true
			r.options.Logger.Warn("consul no longer lets the token read all of a service; its last known instances stay in use", "service", f.name)
			r.tell()
		}
		return false
	case len(missing) > 0 && l.meta.Index <= newest && !f.held:
		r.hold(l.meta.Index, newest)
		return false
	case forgotten >= 0 && !f.held:
		r.hold(l.asOf(lost[forgotten].Sidecar), lost[forgotten].Sidecar.Modified)
		return false
	}
	return true
}

// holding reports whether nothing is removed for now.
func (r *consulRun) holding() bool { return !r.held.IsZero() }

// hold has nothing removed for a while: Consul's index is lower than it was, so its servers
// were restored, or began with nothing, and the agents take minutes to register again what
// runs on their nodes.
func (r *consulRun) hold(index, was uint64) {
	if !r.holding() {
		r.relisted = false
		r.options.Logger.Warn("consul's index went back: it was restored from a snapshot or lost its data; for a while no instance is removed", "index", index, "was", was, "for", r.options.Hold)
		r.do(r.ctx, r.options.Hold, func(context.Context) func() { return r.endHold })
	}
	r.held = time.Now().Add(r.options.Hold)
	r.wentBack = fmt.Sprintf("the index went back from %d to %d: Consul was restored or lost its data; what was registered before stays at least until %s",
		was, index, r.held.UTC().Format(time.RFC3339))
	r.tell()
}

// endHold ends a hold once its time is over and something is registered again, as a list says
// that was read since it began, and reads everything.
func (r *consulRun) endHold() {
	left := time.Until(r.held)
	if left <= 0 && !(r.relisted && r.anyListed()) {
		left = r.options.Hold
	}
	if left > 0 {
		r.do(r.ctx, left, func(context.Context) func() { return r.endHold })
		return
	}
	r.held, r.wentBack = time.Time{}, ""
	r.options.Logger.Info("instances that consul no longer lists are removed again")
	for _, f := range r.followed {
		f.surely, f.held = true, true
	}
	r.again(true)
	r.tell()
}

// anyListed reports whether the catalog lists a service of ours.
func (r *consulRun) anyListed() bool {
	for _, f := range r.followed {
		if f.listed {
			return true
		}
	}
	return false
}
