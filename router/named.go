package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"serai/policy"
	"serai/upstream"
)

// namedKeys are the keys with which a route takes what the operator's file defines.
func namedKeys() []key {
	return []key{{
		Key: Key{Name: "policies", Guard: true, Value: "NAME,...", Default: "-", Example: "admin,lan",
			Meaning: "policies of the operator's file that the route takes, besides those that every route of its namespace has: docs/policies.md"},
		parse:    parsePolicies,
		also:     []string{"policy", "middlewares", "middleware"},
		notNamed: "a policy takes no others; a route takes several",
		route:    func(o *RouteOptions) string { return strings.Join(o.Policies, ",") },
	}, {
		Key: Key{Name: "auth", Guard: true, Value: "NAME", Default: "-", Example: "corp",
			Meaning: "who may pass: an auth of the operator's file, which asks for a password or a token, or asks a service: docs/policies.md"},
		parse: parseAuth,
		also:  []string{"basic-auth", "basicauth", "forward-auth", "forwardauth", "auth-type", "auth-url", "login", "users", "jwt", "auth-jwt", "bearer", "oidc", "oauth", "oauth2", "sso", "digest-auth", "htpasswd", "password"},
		named: adds,
		route: func(o *RouteOptions) string { return o.Auth },
	}}
}

func parseAuth(d *draft, value string) *flaw {
	if !ValidName(value) {
		return &flaw{fmt.Sprintf("%s is not the name of an auth", quote(value)), ""}
	}
	d.Options.Auth = value
	return nil
}

func parsePolicies(d *draft, value string) *flaw {
	return eachElement(value, "policy", func(name string) *flaw {
		if !ValidName(name) {
			return &flaw{fmt.Sprintf("%s is not the name of a policy", quote(name)), ""}
		}
		d.Options.Policies = appendNew(d.Options.Policies, name)
		return nil
	})
}

// ValidName reports whether a policy or an auth may have a name: up to 64 letters,
// digits, dashes and underscores.
func ValidName(name string) bool {
	for i := range len(name) {
		if !isAlnum(name[i]) && name[i] != '-' && name[i] != '_' {
			return false
		}
	}
	return name != "" && len(name) <= maxRouteLen
}

// note remembers a tag that no policy may give in another way.
func (r *reading) note(k *key, value string) {
	if k.named == once {
		r.once = noteOnce(r.once, k, value)
	}
}

// noteOnce adds a setting that only one may give to all of these.
func noteOnce(all map[string]string, k *key, value string) map[string]string {
	if all == nil {
		all = make(map[string]string)
	}
	all[k.Name] = value
	return all
}

// group is the key to which a key belongs: redirect for redirect-status.
func (g *Grammar) group(name string) string {
	if k := g.keys[name]; k != nil && k.named != never {
		if of, _, ok := strings.Cut(k.With, "="); ok && g.keys[of] != nil && g.keys[of].named != never {
			return g.group(of)
		}
	}
	return name
}

// lookUpPolicies finds what the definitions take of the operator's file. A route that
// names what is not there, or not for its namespace, is closed, as one whose guard is half
// written.
func (c *compilation) lookUpPolicies(p *parsed) {
	for i := range p.definitions {
		d := &p.definitions[i]
		if d.Class != c.options.Class {
			continue
		}
		if problem := c.takePolicies(d); problem != nil {
			p.problems = append(p.problems, *problem)
			*d = *d.closed()
			c.takePolicies(d)
		}
	}
}

// takePolicies sets the layers of a definition.
func (c *compilation) takePolicies(d *Definition) *Problem {
	if d.Options.Closed {
		d.layers = []policy.Layer{{Route: &d.Options.OfRoute, Instance: &d.Instance.OfInstance}}
		return nil
	}
	layers, named, err := c.options.Catalog.Layers(c.key.Namespace, &d.Options.OfRoute, &d.Instance.OfInstance)
	if err != nil {
		return c.missing(d, err)
	}
	if problem := c.contradicts(d, layers, named); problem != nil {
		return problem
	}
	for _, p := range named {
		if p.Route.Redirect != nil && d.Options.Redirect != nil && d.once["redirect"] == "" {
			// tls=only and --https-only redirect only routes that have no other redirect.
			own := *d.Options
			own.Redirect = nil
			d.Options = &own
			layers[0].Route = &own.OfRoute
		}
	}
	d.layers = layers
	return nil
}

// missing is the problem of a route that names what it cannot have.
func (c *compilation) missing(d *Definition, err error) *Problem {
	p := &Problem{Route: printable(d.Name), Hosts: d.Hosts, Why: printable(err.Error())}
	var m *policy.Missing
	if !errors.As(err, &m) {
		return p
	}
	switch {
	case m.Kind == "policy" && slices.Contains(d.Options.Policies, m.Name):
		p.Tag = printable(c.grammar.tag(d.Name, "policies") + strings.Join(d.Options.Policies, ","))
	case m.Kind == "auth" && d.Options.Auth == m.Name:
		p.Tag = printable(c.grammar.tag(d.Name, "auth") + m.Name)
	default: // a policy or the namespace names it
		p.Instead = fmt.Sprintf("the operator can add %s %s to the file of --config", m.Kind, quote(m.Name))
		return p
	}
	if names := c.options.Catalog.Names(m.Kind, c.key.Namespace); len(names) > 0 {
		p.Instead = printable("one of: " + strings.Join(names, ", "))
	} else {
		p.Instead = fmt.Sprintf("a name that the file of --config has for namespace %s", quote(c.key.Namespace))
	}
	return p
}

// contradicts reports settings that only one may give, of a route's tags and its
// policies. Two equal ones are refused, too: a prefix would be stripped twice.
func (c *compilation) contradicts(d *Definition, layers []policy.Layer, named []*policy.Named) *Problem {
	type setting struct{ by, value string }
	given := make(map[string]setting)
	for group, value := range c.grammar.byGroup(d.once) {
		given[group] = setting{"the route's tags", value}
	}
	for i, p := range named {
		by := layers[i+1].String()
		for group, value := range c.grammar.byGroup(p.Once) {
			if other, twice := given[group]; twice {
				return &Problem{Route: printable(d.Name), Hosts: d.Hosts,
					Why:     printable(fmt.Sprintf("%s is set by %s (%s) and by %s (%s)", group, other.by, other.value, by, value)),
					Instead: fmt.Sprintf("%s in one of them", group)}
			}
			given[group] = setting{by, value}
		}
	}
	return nil
}

// byGroup writes settings that only one may give in one line for each group.
func (g *Grammar) byGroup(once map[string]string) map[string]string {
	if len(once) == 0 {
		return nil
	}
	lines := make(map[string][]string)
	for name, value := range once {
		group := g.group(name)
		lines[group] = append(lines[group], name+"="+value)
	}
	groups := make(map[string]string, len(lines))
	for group, l := range lines {
		slices.Sort(l)
		groups[group] = strings.Join(l, " ")
	}
	return groups
}

// NamedPolicy is a policy of the operator's file that a route has.
type NamedPolicy struct {
	Name string `json:"name"`
	// Default says that every route of the namespace has it.
	Default bool `json:"default,omitempty"`
}

// Named returns the policies of the operator's file that the route has.
func (r *Route) Named() (all []NamedPolicy) {
	for i := range r.layers {
		if l := &r.layers[i]; l.Policy != "" {
			all = append(all, NamedPolicy{l.Policy, l.Default})
		}
	}
	return all
}

// room is where the requests of a route wait: in the room of its last version, unless
// requests are let in by other policies now. Then those that wait are looked up again,
// and have to pass these.
func (c *compilation) room(r, last *Route) *upstream.Room {
	if last == nil || r.Common != last.Common && r.Policies.MayAnswer() && !policy.SameLayers(r.layers, last.layers) {
		return c.options.Registry.NewRoom(c.key.Namespace)
	}
	return last.Pool.Room()
}

// setPolicies compiles the layers of a route.
func (r *Common) setPolicies(layers []policy.Layer) {
	r.layers, r.Policies = layers, policy.RouteLayers(layers, &r.Stats.Policies)
}
