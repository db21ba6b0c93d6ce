package policy

import (
	"fmt"
	"slices"
)

// Catalog is what the operator's config file defines by name: policies and auths that
// a route takes with a tag, and policies that all routes of a namespace have whatever
// their tags say. Never modified once made; another config file makes another Catalog.
// A nil Catalog has nothing.
type Catalog struct {
	policies map[string]*Named
	auths    map[string]*Auth
	defaults []Default
}

// Namespaces says for which namespaces something is.
type Namespaces interface{ Match(namespace string) bool }

// Named is a policy block of the config file.
type Named struct {
	Name string
	// For are the namespaces whose routes may take it with a tag, nil for all.
	For Namespaces
	// Route and Instance are what it asks for.
	Route    OfRoute
	Instance OfInstance
	// Once are its settings that only one of a route's tags and policies may give, as
	// written, by the key that they belong to.
	Once map[string]string
}

// Auth is an auth block of the config file: who may pass.
type Auth struct {
	Name string
	// For are the namespaces whose routes may name it in a tag, nil for all. A policy
	// may name every auth.
	For Namespaces
	// Check lets a request pass, or refuses it. All routes that name the auth share it,
	// so what it learns is about the auth and not about a route. It may take part in
	// further phases.
	Check RequestPolicy
	// Service is the service of the table that Check asks, as NAMESPACE/NAME; empty for none.
	Service string
}

// Default is a namespace block of the config file: policies of all routes of the
// namespaces, which no tag can shed.
type Default struct {
	// Pattern is the label of the block, For the namespaces that it fits.
	Pattern  string
	For      Namespaces
	Policies []string
}

// NewCatalog makes a Catalog, which owns its arguments from then on. Of two with one
// name the last one counts; names that nothing has are for whoever looks them up.
func NewCatalog(policies []*Named, auths []*Auth, defaults []Default) *Catalog {
	c := &Catalog{policies: make(map[string]*Named), auths: make(map[string]*Auth), defaults: defaults}
	for _, p := range policies {
		c.policies[p.Name] = p
	}
	for _, a := range auths {
		c.auths[a.Name] = a
	}
	return c
}

// Services returns the services of the table that auths ask, each once.
func (c *Catalog) Services() (names []string) {
	if c == nil {
		return nil
	}
	for _, a := range c.auths {
		if a.Service != "" && !slices.Contains(names, a.Service) {
			names = append(names, a.Service)
		}
	}
	return names
}

// Missing says that a name leads to nothing that may be used.
type Missing struct {
	// Kind is "policy" or "auth".
	Kind, Name string
	// Namespace is the one for which the name is not; empty when nothing has the name.
	Namespace string
}

func (m *Missing) Error() string {
	if m.Namespace != "" {
		return fmt.Sprintf("%s %q is not for namespace %q", m.Kind, m.Name, m.Namespace)
	}
	return fmt.Sprintf("%s %q is not in the operator's file", m.Kind, m.Name)
}

// Policy returns the policy that a route of a namespace names in a tag. The error is a
// *Missing.
func (c *Catalog) Policy(namespace, name string) (*Named, error) {
	if c == nil || c.policies[name] == nil {
		return nil, &Missing{Kind: "policy", Name: name}
	}
	p := c.policies[name]
	if p.For != nil && !p.For.Match(namespace) {
		return nil, &Missing{"policy", name, namespace}
	}
	return p, nil
}

// Auth returns the auth that a route of a namespace names in a tag. The error is a
// *Missing.
func (c *Catalog) Auth(namespace, name string) (*Auth, error) {
	a, err := c.authOf(name)
	if err == nil && a.For != nil && !a.For.Match(namespace) {
		return nil, &Missing{"auth", name, namespace}
	}
	return a, err
}

// authOf returns the auth that a policy names.
func (c *Catalog) authOf(name string) (*Auth, error) {
	if c == nil || c.auths[name] == nil || c.auths[name].Check == nil {
		return nil, &Missing{Kind: "auth", Name: name}
	}
	return c.auths[name], nil
}

// Names returns the names of the policies or auths that routes of a namespace may take,
// sorted.
func (c *Catalog) Names(kind, namespace string) (names []string) {
	if c == nil {
		return nil
	}
	if kind == "auth" {
		for name, a := range c.auths {
			if a.For == nil || a.For.Match(namespace) {
				names = append(names, name)
			}
		}
	} else {
		for name, p := range c.policies {
			if p.For == nil || p.For.Match(namespace) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Defaults returns the names of the policies that all routes of a namespace have, in
// the order of the file, each once.
func (c *Catalog) Defaults(namespace string) (names []string) {
	if c == nil {
		return nil
	}
	for _, d := range c.defaults {
		if !d.For.Match(namespace) {
			continue
		}
		for _, name := range d.Policies {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
