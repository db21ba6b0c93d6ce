package discovery

import "serai/consul"

// Consul copies the tags of a service to its sidecar. So a service with our tags speaks for
// itself, and a sidecar with them is followed by itself only where it is alone: where its
// service has none. When they move from one to the other, what had them stays until the other
// one has been read.

// standsFor is the service that a sidecar in a list stands for, empty when there is none.
func standsFor(entries []consul.Entry) string {
	for i := range entries {
		if entries[i].Service.Kind == consul.Sidecar {
			return entries[i].Service.Proxy.DestinationServiceName
		}
	}
	return ""
}

// stand notes whose sidecars the instances of a service are, empty for nobody's.
func (r *consulRun) stand(f *followed, service string) {
	if f.standsFor != service {
		r.arrived(f) // who has waited for it waits no more
	}
	if f.standsFor = service; service == "" {
		delete(r.sidecars, f)
	} else {
		r.sidecars[f] = true
	}
	f.alone = r.alone(f)
}

// alone reports whether sidecars that carry our tags are the only way to their service.
func (r *consulRun) alone(sidecar *followed) bool {
	if sidecar.standsFor == "" {
		return false
	}
	f := r.followed[sidecar.standsFor]
	switch {
	case f == nil || f.yields:
		return true
	case r.speaks(f):
		return false
	}
	return !f.listed || sidecar.alone && r.services[sidecar.key] != nil
}

// speaks reports whether what is known of a service carries our tags.
func (r *consulRun) speaks(f *followed) bool {
	known := r.services[f.key]
	return known != nil && anyCarries(known.Instances, r.prefix)
}

// settleAlone has those sidecars come and go whose service has gone or come.
func (r *consulRun) settleAlone() {
	for f := range r.sidecars {
		if f.alone == r.alone(f) {
			continue
		}
		if f.alone = !f.alone; f.alone {
			r.giveUp(f)
			r.enqueue(f, false)
		} else {
			r.update(f.key, withoutSidecars(r.instances(f.key)))
		}
	}
}

// withoutSidecars are those of a service's instances that are no sidecars: where somebody has
// registered these under its name.
func withoutSidecars(all []*Instance) (rest []*Instance) {
	for _, i := range all {
		if i.Sidecar == nil || !i.Sidecar.Only || i.Sidecar.ID == "" {
			rest = append(rest, i)
		}
	}
	return rest
}

// yield reports whether a service stays as it is known for now: it is about to lose its tags, and
// there are sidecars with tags of ours, which are to be read first. From then on these are the
// way to it, until it is listed with tags again: so they do not come and go while it is asked for
// once more, nor where it stays after all. Tagged says that it is listed with tags; next is what
// would be known of it, which may have those of instances that stay although they are not listed.
func (r *consulRun) yield(f *followed, tagged bool, next []*Instance) bool {
	if tagged || !r.speaks(f) {
		f.yields = false
		return false
	}
	if anyCarries(next, r.prefix) {
		return false
	}
	waits := false
	for s := range r.sidecars {
		if s.standsFor != f.name {
			continue
		}
		s.awaited = s.awaited || !f.yields && !s.alone && s.listed
		waits = waits || s.awaited
	}
	if waits {
		f.yields = true
		r.settleAlone()
	}
	return waits
}

// arrived has the service read again that has waited for these sidecars.
func (r *consulRun) arrived(sidecar *followed) {
	if !sidecar.awaited {
		return
	}
	sidecar.awaited = false
	if f := r.followed[sidecar.standsFor]; f != nil {
		r.readSurely(f)
	}
}
