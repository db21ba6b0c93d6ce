package policy

import (
	"fmt"
	"reflect"
	"slices"
)

// Layer is what one place asks of a route: its own tags, or a named policy. The layers
// of a route are its tags, then the policies that they name, in that order, then those
// of its namespace.
//
// Each layer is compiled by itself, and all layers are applied: of guards (addresses,
// rates, auths) a request must pass each one, and of changes to the same field the last
// one counts, so that tags can weaken nothing.
type Layer struct {
	// Policy is the name of the policy, empty for the route's own tags. Default says
	// that all routes of the namespace have it.
	Policy   string
	Default  bool
	Route    *OfRoute
	Instance *OfInstance
	// Auth is what Route.Auth names, nil for none.
	Auth *Auth
}

// Layers returns the layers of a route: its own tags, the policies named in the tag,
// and those of its namespace. The error is a *Missing: the route must not be served.
func (c *Catalog) Layers(namespace string, route *OfRoute, instance *OfInstance) ([]Layer, []*Named, error) {
	own := Layer{Route: route, Instance: instance}
	if route.Auth != "" {
		var err error
		if own.Auth, err = c.Auth(namespace, route.Auth); err != nil {
			return nil, nil, err
		}
	}
	layers := []Layer{own}
	var all []*Named
	add := func(p *Named, byDefault bool) (err error) {
		l := Layer{Policy: p.Name, Default: byDefault, Route: &p.Route, Instance: &p.Instance}
		if p.Route.Auth != "" {
			if l.Auth, err = c.authOf(p.Route.Auth); err != nil {
				return err
			}
		}
		layers, all = append(layers, l), append(all, p)
		return nil
	}
	defaults := make(map[string]bool)
	for _, name := range c.Defaults(namespace) {
		defaults[name] = true
	}
	for _, name := range route.Policies {
		if defaults[name] {
			continue // follows, for every route
		}
		p, err := c.Policy(namespace, name)
		if err == nil {
			err = add(p, false)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for _, name := range c.Defaults(namespace) {
		p := c.policies[name]
		if p == nil {
			return nil, nil, &Missing{Kind: "policy", Name: name}
		}
		if err := add(p, true); err != nil {
			return nil, nil, err
		}
	}
	return layers, all, nil
}

// SameLayers reports whether two routes have the same policies. Auths are the same only
// where nothing has made them anew.
func SameLayers(a, b []Layer) bool {
	return slices.EqualFunc(a, b, func(a, b Layer) bool {
		return a.Policy == b.Policy && a.Auth == b.Auth && reflect.DeepEqual(a.Route, b.Route)
	})
}

// SameForInstances reports whether two layers are the same for an instance that has both.
func (l Layer) SameForInstances(o Layer) bool {
	return l.Policy == o.Policy && reflect.DeepEqual(l.Instance, o.Instance)
}

// String tells people where the layer's policies come from, empty for the tags.
func (l *Layer) String() string {
	switch {
	case l.Policy == "":
		return ""
	case l.Default:
		return fmt.Sprintf("policy %s, by default", l.Policy)
	}
	return "policy " + l.Policy
}

// state returns the part of a route's state that belongs to a layer: two rates count
// apart from each other.
func (l *Layer) state(s *State) *State {
	if l.Policy == "" {
		return s
	}
	return Keep(s, "policy "+l.Policy, func() *State { return &State{Rates: s.Rates, Encoders: s.Encoders} })
}
