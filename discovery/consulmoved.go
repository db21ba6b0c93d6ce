package discovery

import (
	"maps"
	"strings"

	"serai/consul"
)

// departed is something that has left the list of a service or of its sidecars, where the list is
// no newer than what is known of it.
type departed struct {
	node, id string // of Consul
	modified uint64
}

// readMoved looks up as which services those are registered now. Where an ID becomes that of
// another service on its node, it leaves the list of the one that it was, whose index Consul does
// not raise: that looks as if Consul had been restored. Its node says what service it is now, and
// the list of that one since when; the same list has the others that have gone there, too.
func (r *consulReading) readMoved(l *consulListing, q consul.Query) error {
	if r.known == nil || r.holds {
		return nil
	}
	l.moved = make(map[string]uint64)
	names, nodes, read := make(map[string]string), 0, make(map[string]bool)
	all := r.departed(l)
	for _, d := range all {
		if l.moved[instanceID(d.node, d.id)] > d.modified {
			continue
		}
		if _, asked := names[instanceID(d.node, d.id)]; !asked {
			if nodes++; nodes > maxOthers {
				return nil
			}
			found, err := r.servicesOn(d.node, all, q)
			if err != nil {
				return err
			}
			maps.Copy(names, found)
		}
		name := names[instanceID(d.node, d.id)]
		if name == "" || read[name] {
			continue
		}
		read[name] = true
		entries, _, err := r.lookUp(r.ctx, r.options.Client.Service, name, q)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			l.moved[instanceID(e.Node.Node, e.Service.ID)] = e.Service.ModifyIndex
		}
	}
	return nil
}

// servicesOn returns as what services those on a node are registered that have departed, by their
// IDs as instances have them: all of them, with an empty name where they are not.
func (r *consulReading) servicesOn(node string, all []departed, q consul.Query) (map[string]string, error) {
	names := make(map[string]string)
	for _, d := range all {
		if d.node == node {
			names[instanceID(node, d.id)] = ""
		}
	}
	err := r.options.Client.EachOn(r.ctx, node, q, func(id, service string) {
		if _, wanted := names[instanceID(node, id)]; wanted {
			names[instanceID(node, id)] = service
		}
	})
	return names, err
}

// departed are those of what is known.
func (r *consulReading) departed(l *consulListing) (all []departed) {
	there := make(map[string]bool)
	for i := range l.entries {
		there[instanceID(l.entries[i].Node.Node, l.entries[i].Service.ID)] = true
	}
	besides := make(map[string]bool)
	for i := range l.sidecars {
		besides[instanceID(l.sidecars[i].Node.Node, l.sidecars[i].Service.ID)] = true
	}
	for _, i := range r.known.Instances {
		if index, _ := Position(i.Modified); !there[i.ID] && l.meta.Index <= index {
			all = append(all, departed{i.Node, strings.TrimPrefix(i.ID, instanceID(i.Node, "")), index})
		}
		s := i.Sidecar
		if l.meshed && s != nil && s.ID != "" && !besides[instanceID(i.Node, s.ID)] && l.asOf(s) <= s.Modified {
			all = append(all, departed{i.Node, s.ID, s.Modified})
		}
	}
	return all
}
