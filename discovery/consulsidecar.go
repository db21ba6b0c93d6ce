package discovery

import (
	"slices"
	"strings"
	"time"

	"serai/consul"
)

// Sidecar is where and as whom an instance is reached in Consul's mesh: through its sidecar,
// or itself where it needs none. Never modified.
type Sidecar struct {
	// ID is that of the sidecar on the instance's node, empty where the instance needs none.
	ID string `json:"ID,omitempty"`
	// Name is the service as which the sidecar is registered, empty where it is not known.
	Name    string `json:"Name,omitempty"`
	Address string `json:"Address"`
	Port    int    `json:"Port"`
	// Service and Datacenter are the identity that it proves.
	Service    string `json:"Service"`
	Datacenter string `json:"Datacenter"`
	// Only says that the instance is not reached in another way, unless its tags say so.
	Only bool `json:"Only,omitempty"`
	// Unfit says why it takes no connections for now, as Consul knows; empty when it may.
	Unfit string `json:"Unfit,omitempty"`
	// Modified is Consul's index of the last change of the sidecar's registration.
	Modified uint64 `json:"ModifyIndex,omitempty"`
}

// sameSidecar reports whether two have the same content, whenever they were last changed.
func sameSidecar(a, b *Sidecar) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Modified, y.Modified = 0, 0
	return x == y
}

// consulListing is what Consul lists of a service: its instances, and where one of them is to be
// reached through its sidecar, those. It takes much memory: what is kept of it while the next
// one is awaited is only what the lists say about themselves.
type consulListing struct {
	entries, sidecars []consul.Entry
	meta, ofSidecars  consul.Meta
	meshed            bool // the sidecars have been read
	// others are how new the services are of which the sidecars were that have left the list: it is
	// only as new as those that are left. They are looked up only where that decides.
	others map[string]uint64
	// moved are the indexes as of which what has left the lists is registered as another service,
	// by its node and ID: see readMoved.
	moved map[string]uint64
}

// asOf is the index as of which a sidecar is not listed.
func (l *consulListing) asOf(s *Sidecar) uint64 {
	if index, known := l.others[s.Name]; known {
		return index
	}
	return l.ofSidecars.Index
}

// joint is what both lists say about themselves.
func (l *consulListing) joint() consul.Meta {
	m := l.meta
	m.Index = max(m.Index, l.ofSidecars.Index)
	m.Size += l.ofSidecars.Size
	m.Filtered = m.Filtered || l.ofSidecars.Filtered
	return m
}

// meshed reports whether one of the instances is to be reached through its sidecar.
func (r *consulRun) meshed(entries []consul.Entry) bool {
	return slices.ContainsFunc(entries, func(e consul.Entry) bool { return wantsSidecar(&e.Service, r.prefix) })
}

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

// sidecarOf is how an instance is reached in the mesh, nil when it is not, or need not be.
func (o *ConsulOptions) sidecarOf(e *consul.Entry, sidecars []consul.Entry) *Sidecar {
	s := &e.Service
	if s.Connect.Native {
		side := o.sidecar(e, s.Service)
		side.ID, side.Name, side.Only, side.Unfit = "", "", true, ""
		return side
	}
	if !wantsSidecar(s, o.Prefix) {
		return nil
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
		return nil
	}
	return o.sidecar(best, s.Service)
}

func own(sidecar *consul.Entry, s *consul.Service) bool {
	return sidecar.Service.Proxy.DestinationServiceID == s.ID
}

// sidecar is what an entry of Consul's list is for others: the identity of a service at its
// address.
func (o *ConsulOptions) sidecar(e *consul.Entry, service string) *Sidecar {
	side := &Sidecar{ID: e.Service.ID, Name: e.Service.Service, Service: service, Datacenter: e.Node.Datacenter, Modified: e.Service.ModifyIndex}
	side.Address, side.Port = o.addressOf(e)
	if state := worst(e.Checks); state != consul.Passing && !(state == consul.Warning && o.Warning) {
		side.Unfit = inConsul(state)
	}
	return side
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

// pause is the pause after an answer: see pace. Last is what was known when the wait began, nil
// without one.
func (l *consulListing) pause(last *consulListing, began time.Time) time.Duration {
	m := l.joint()
	index := uint64(0)
	if last != nil && l.meta.Index <= last.meta.Index && l.ofSidecars.Index <= last.ofSidecars.Index {
		index = m.Index
	}
	return pace(index, &m, began)
}
