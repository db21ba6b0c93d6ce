package discovery

import (
	"context"
	"slices"
	"strings"
	"time"

	"serai/consul"
)

// Sidecar is where and as whom an instance is reached in Consul's mesh: through its sidecar,
// or itself where it needs none. Never modified.
type Sidecar struct {
	// ID is that of the sidecar on the instance's node, empty where the instance needs none.
	ID      string `json:"ID,omitempty"`
	Address string `json:"Address"`
	Port    int    `json:"Port"`
	// Service and Datacenter are the identity that it proves.
	Service    string `json:"Service"`
	Datacenter string `json:"Datacenter"`
	// Only says that the instance is not reached in another way, unless its tags say so.
	Only bool `json:"Only,omitempty"`
	// Unfit says why it takes no connections for now, as Consul knows; empty when it may.
	Unfit string `json:"Unfit,omitempty"`
}

func sameSidecar(a, b *Sidecar) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// consulListing is what Consul lists of a service: its instances, and where one of them is to be
// reached through its sidecar, those.
type consulListing struct {
	entries, sidecars []consul.Entry
	meta, ofSidecars  consul.Meta
	meshed            bool // the sidecars have been read
}

// joint is what both lists say about themselves.
func (l *consulListing) joint() consul.Meta {
	m := l.meta
	m.Index = max(m.Index, l.ofSidecars.Index)
	m.Size += l.ofSidecars.Size
	m.Filtered = m.Filtered || l.ofSidecars.Filtered
	return m
}

// readListing reads what Consul lists of a service now.
func (r *consulRun) readListing(ctx context.Context, name string, q consul.Query, denies bool) (l consulListing, err error) {
	if l.entries, l.meta, err = r.lookUp(ctx, r.options.Client.Service, name, q, denies); err != nil {
		return l, err
	}
	return l, r.readSidecars(ctx, &l, name, q, denies)
}

// readSidecars reads the sidecars of a service, if one of its instances wants that.
func (r *consulRun) readSidecars(ctx context.Context, l *consulListing, name string, q consul.Query, denies bool) (err error) {
	if !r.meshed(l.entries) {
		return nil
	}
	l.meshed = true
	l.sidecars, l.ofSidecars, err = r.lookUp(ctx, r.options.Client.Sidecars, name, q, denies)
	return err
}

// awaitListing waits until one of the lists changes.
func (r *consulRun) awaitListing(ctx context.Context, name string, last consulListing, q consul.Query, denies bool) (consulListing, error) {
	if !last.meshed {
		q.Index = last.meta.Index
		next := consulListing{}
		var err error
		if next.entries, next.meta, err = r.lookUp(ctx, r.options.Client.Service, name, q, denies); err != nil {
			return next, err
		}
		return next, r.readSidecars(ctx, &next, name, consul.Query{Stale: true}, denies)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		sidecars bool
		entries  []consul.Entry
		meta     consul.Meta
		err      error
	}
	answers := make(chan answer, 2)
	ask := func(sidecars bool, read consulReading, index uint64) {
		r.running.Go(func() {
			q := q
			q.Index = index
			entries, meta, err := r.lookUp(ctx, read, name, q, denies)
			answers <- answer{sidecars, entries, meta, err}
		})
	}
	ask(false, r.options.Client.Service, last.meta.Index)
	ask(true, r.options.Client.Sidecars, last.ofSidecars.Index)
	a, next := <-answers, last
	switch {
	case a.err != nil:
		return next, a.err
	case a.sidecars:
		next.sidecars, next.ofSidecars = a.entries, a.meta
	default:
		next.entries, next.meta = a.entries, a.meta
		if !r.meshed(next.entries) {
			next.meshed, next.sidecars, next.ofSidecars = false, nil, consul.Meta{}
		}
	}
	return next, nil
}

// meshed reports whether one of the instances is to be reached through its sidecar.
func (r *consulRun) meshed(entries []consul.Entry) bool {
	return slices.ContainsFunc(entries, func(e consul.Entry) bool { return wantsSidecar(&e.Service, r.prefix) })
}

// moved reports whether an answer has another index than the last one.
func (l *consulListing) moved(last *consulListing) bool {
	return l.meta.Index != last.meta.Index || l.ofSidecars.Index != last.ofSidecars.Index
}

// consulReading is a method of a Client that lists instances.
type consulReading func(ctx context.Context, name string, q consul.Query) ([]consul.Entry, consul.Meta, error)

// wantsSidecar reports whether the tags of a service ask for its sidecar.
func wantsSidecar(s *consul.Service, prefix string) bool {
	return s.Kind == "" && !s.Connect.Native && asksForMesh(tagsOf(s, prefix), prefix)
}

// asksForMesh reports whether one of the tags may be connect=on: what it says exactly is for
// the grammar.
func asksForMesh(tags []string, prefix string) bool {
	for _, t := range tags {
		rest, ours := strings.CutPrefix(t, prefix+".")
		key, value, _ := strings.Cut(rest, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if ours && (key == "connect" || strings.HasSuffix(key, ".connect")) && value != "off" {
			return true
		}
	}
	return false
}

// sidecarOf is how an instance is reached in the mesh, nil when it is not, or need not be,
// and the index of the last change of that.
func (o *ConsulOptions) sidecarOf(e *consul.Entry, sidecars []consul.Entry) (side *Sidecar, modified uint64) {
	s := &e.Service
	if s.Connect.Native {
		side = o.sidecar(e, s.Service)
		side.ID, side.Only, side.Unfit = "", true, ""
		return side, 0
	}
	if !wantsSidecar(s, o.Prefix) {
		return nil, 0
	}
	var best *consul.Entry
	for i := range sidecars {
		c := &sidecars[i]
		p := &c.Service.Proxy
		if c.Service.Kind != consul.Sidecar || c.Node.Node != e.Node.Node || p.DestinationServiceID != s.ID && p.DestinationServiceID != "" {
			continue
		}
		// One that is registered for just this instance, or else the one with the lowest ID.
		if best == nil || own(c, s) && !own(best, s) || own(c, s) == own(best, s) && c.Service.ID < best.Service.ID {
			best = c
		}
	}
	if best == nil {
		return nil, 0
	}
	return o.sidecar(best, s.Service), best.Service.ModifyIndex
}

func own(sidecar *consul.Entry, s *consul.Service) bool {
	return sidecar.Service.Proxy.DestinationServiceID == s.ID
}

// sidecar is what an entry of Consul's list is for others: the identity of a service at its
// address.
func (o *ConsulOptions) sidecar(e *consul.Entry, service string) *Sidecar {
	side := &Sidecar{ID: e.Service.ID, Service: service, Datacenter: e.Node.Datacenter}
	side.Address, side.Port = o.addressOf(e)
	if state := worst(e.Checks); state != consul.Passing && !(state == consul.Warning && o.Warning) {
		side.Unfit = inConsul(state)
	}
	return side
}

// standsFor is the service that a sidecar in a list stands for, empty when there is none.
func standsFor(entries []consul.Entry) string {
	for i := range entries {
		if entries[i].Service.Kind == consul.Sidecar {
			return entries[i].Service.Proxy.DestinationServiceName
		}
	}
	return ""
}

// alone reports whether a sidecar that carries our tags is the only way to a service: Consul
// copies the tags of a service to its sidecar, so a service with our tags speaks for itself.
func (r *consulRun) alone(service string) bool {
	f := r.followed[service]
	switch known := r.services[Key{ConsulNamespace, service}]; {
	case service == "":
		return false
	case f == nil:
		return true
	default:
		return !f.listed && (known == nil || !anyCarries(known.Instances, r.prefix))
	}
}

// settleAlone has those sidecars come and go whose service has gone or come.
func (r *consulRun) settleAlone() {
	for _, f := range r.followed {
		if f.standsFor == "" || f.alone == r.alone(f.standsFor) {
			continue
		}
		if f.alone = !f.alone; f.alone {
			r.giveUp(f) // which may wait for another change
			r.enqueue(f, false)
		} else {
			r.update(f.key, nil)
		}
	}
}

// lostSidecars are the known instances that were reached through a sidecar which is not
// listed any more, although their tags still ask for it.
func (r *consulRun) lostSidecars(key Key, listed []*Instance) (lost []*Instance) {
	known := r.services[key]
	if known == nil {
		return nil
	}
	for _, i := range known.Instances {
		if i.Sidecar == nil || i.Sidecar.Only {
			continue
		}
		at, found := slices.BinarySearchFunc(listed, i, byID)
		if found && listed[at].Sidecar == nil && asksForMesh(listed[at].Tags, r.prefix) {
			lost = append(lost, i)
		}
	}
	return lost
}

// pause is the pause after an answer: see pace.
func (l *consulListing) pause(waited bool, last *consulListing, began time.Time) time.Duration {
	m := l.joint()
	index := uint64(0)
	if waited && !l.moved(last) {
		index = m.Index
	}
	return pace(index, &m, began)
}
