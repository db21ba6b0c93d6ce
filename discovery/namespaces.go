package discovery

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"serai/nomad"
)

// Namespaces says which namespaces are watched: names, globs such as "team-*", and
// "!name" or "!glob" for exclusions. With only exclusions, all other namespaces are
// watched. Immutable.
type Namespaces struct {
	wanted, excluded []string
}

// ParseNamespaces reads patterns. None means all namespaces.
func ParseNamespaces(patterns []string) (*Namespaces, error) {
	n := &Namespaces{}
	var errs []error
	for _, p := range patterns {
		p = strings.TrimSpace(p)
		name, excluded := strings.CutPrefix(p, "!")
		if _, err := path.Match(name, ""); err != nil || name == "" || strings.ContainsAny(name, "/, \t\n") {
			errs = append(errs, fmt.Errorf("namespace pattern %q is not a name, a glob such as team-*, or one of these after an exclamation mark", p))
			continue
		}
		if excluded {
			n.excluded = append(n.excluded, name)
		} else if !slices.Contains(n.wanted, name) {
			n.wanted = append(n.wanted, name)
		}
	}
	if len(n.wanted) == 0 {
		n.wanted = []string{"*"}
	}
	return n, errors.Join(errs...)
}

// Match reports whether a namespace is watched.
func (n *Namespaces) Match(name string) bool {
	matches := func(glob string) bool {
		ok, _ := path.Match(glob, name)
		return ok
	}
	return slices.ContainsFunc(n.wanted, matches) && !slices.ContainsFunc(n.excluded, matches)
}

// Scopes are the subscriptions, one stream for each: the names when only names are
// given, otherwise nomad.AllNamespaces.
func (n *Namespaces) Scopes() []string {
	var names []string
	for _, w := range n.wanted {
		if strings.ContainsAny(w, `*?[\`) {
			return []string{nomad.AllNamespaces}
		}
		if n.Match(w) {
			names = append(names, w)
		}
	}
	return names
}

// Names are the plain names among the patterns.
func (n *Namespaces) Names() (names []string) {
	for _, w := range n.wanted {
		if !strings.ContainsAny(w, `*?[\`) && n.Match(w) {
			names = append(names, w)
		}
	}
	return names
}

// String returns the patterns as written.
func (n *Namespaces) String() string {
	all := slices.Clone(n.wanted)
	for _, e := range n.excluded {
		all = append(all, "!"+e)
	}
	return strings.Join(all, ",")
}
