package router

import (
	"cmp"
	"fmt"
	"strings"

	"serai/discovery"
)

// A guard of a route for which no tag names a host, or in a tag that only looks like one of
// ours, was meant for another route, and nobody knows for which: ingress.policies=lan
// beside ingress.web.host=a.example.org. All routes of the instance are closed then. Of
// other keys that is only a rejection of the route that they name.

// strayGuard returns the problem of a guard that guards no route, nil when there is none.
// Routes are those of all tags.
func (g *Grammar) strayGuard(tags []string, routes map[string]*reading) *Problem {
	for _, tag := range tags {
		rest, ours := g.cut(tag)
		if !ours {
			if _, near := g.near(tag); !near {
				continue
			}
			_, rest, _ = discovery.SplitNear(tag, g.prefix)
		}
		left, _, _ := strings.Cut(strings.TrimPrefix(rest, "."), "=")
		name, word := splitKey(left)
		if ours && routes[name] != nil && routes[name].hosted {
			continue
		}
		if validRouteName(name) {
			left = word // a route may have the name of a key
		}
		if guard := g.guardIn(left); guard != "" {
			return &Problem{Whole: true, Tag: printable(tag),
				Why:     fmt.Sprintf("%s is a guard of no route, as no tag names its host, so it may be meant for any route of the service", guard),
				Instead: fmt.Sprintf("%s, where %s.ROUTE.host=NAME is the route that it is meant for", g.tag("ROUTE", guard)+"VALUE", g.prefix)}
		}
	}
	return nil
}

// guardIn returns the guard that a tag without its value speaks of, however it is
// misspelled; empty for none.
func (g *Grammar) guardIn(left string) string {
	words := strings.FieldsFunc(left, func(r rune) bool {
		return r != '-' && r != '_' && (r >= 0x80 || !isAlnum(byte(r)))
	})
	for _, word := range words {
		word = strings.ToLower(word)
		if k := cmp.Or(g.keys[word], g.keys[g.nearest(word)]); k != nil && k.Guard {
			return k.Name
		}
	}
	return ""
}

// splitKey splits what follows the prefix of a tag into the names of route and key.
func splitKey(left string) (route, word string) {
	i := strings.LastIndexByte(left, '.')
	switch {
	case i < 0:
		return "", left
	case i == 0:
		// PREFIX..KEY names a route with an empty name, not the unnamed one.
		return ".", left[1:]
	}
	return left[:i], left[i+1:]
}
