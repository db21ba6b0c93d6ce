package router

import (
	"fmt"
	"strings"

	"serai/discovery"
)

// Grammar parses tags.
type Grammar struct {
	prefix    string
	list      []key
	keys      map[string]*key
	claims    map[string]bool // keys that decide which requests a route takes
	httpsOnly bool            // see Options
	class     string          // see Options
	networks  int             // see SetNetworks
}

// NewGrammar returns the grammar of tags that begin with prefix and a dot.
func NewGrammar(prefix string) *Grammar {
	g := &Grammar{prefix: prefix, list: keys(), keys: make(map[string]*key), claims: make(map[string]bool)}
	for _, k := range claimKeys() {
		g.claims[k.Name] = true
	}
	for i := range g.list {
		g.keys[g.list[i].Name] = &g.list[i]
	}
	return g
}

// ParseTags reads the tags of one instance with the grammar of prefix.
func ParseTags(prefix string, tags []string) ([]Definition, []Problem) {
	return NewGrammar(prefix).Parse(tags)
}

// cut returns what follows the prefix, beginning with the dot; empty when it cannot be
// a key.
func (g *Grammar) cut(tag string) (string, bool) {
	rest, ok := strings.CutPrefix(tag, g.prefix)
	switch {
	case !ok:
		return "", false
	case rest == "" || rest[0] == '=':
		return "", true
	case rest[0] == '.':
		return rest, true
	}
	return "", false
}

// count returns how many tags begin with the prefix.
func (g *Grammar) count(tags []string) (n int) {
	for _, tag := range tags {
		if strings.HasPrefix(tag, g.prefix) {
			n++
		}
	}
	return n
}

// near reports a tag that is not ours but was probably meant to be. It exposes nothing,
// and refuses nothing.
func (g *Grammar) near(tag string) (Problem, bool) {
	word, rest, near := discovery.SplitNear(tag, g.prefix)
	left, value, _ := strings.Cut(rest, "=")
	left = strings.TrimSpace(strings.ToLower(left))
	key := left[strings.LastIndexByte(left, '.')+1:]
	if !near || word != g.prefix && g.keys[key] == nil {
		return Problem{}, false
	}
	value = strings.Trim(strings.TrimSpace(value), "\"'`")
	meant := draft{Definition: &Definition{}}
	if key == "host" && len(tag) <= maxTag {
		_ = parseHosts(&meant, value) // who explains a request for one of these hosts is told of the tag
	}
	begins, should := word, g.prefix
	if word == g.prefix { // what is wrong is around it
		begins, should = tag[:len(tag)-len(rest)], g.prefix+"."
	}
	return Problem{
		None: true, Tag: printable(tag), Hosts: meant.Hosts, Why: fmt.Sprintf("the tag begins with %s, not %s, so serai does not read it", quote(begins), quote(should)),
		Instead: printable(g.prefix + "." + left + "=" + value),
	}, true
}

// unknown says what a word that is not a key probably meant.
func (g *Grammar) unknown(route, word, value string, valued bool) *flaw {
	f := &flaw{fmt.Sprintf("%s is not a key", quote(word)), ""}
	if word == "" {
		f.why = "the tag has no key"
	}
	joined := g.keys[route+"-"+word]
	switch near := g.nearest(word); {
	case route != "" && g.keys[route] != nil && joined != nil:
		f.instead = fmt.Sprintf("did you mean `%s`? Write %s%s", joined.Name, g.tag("", joined.Name), joined.Value)
	case near != "":
		f.instead = fmt.Sprintf("did you mean `%s`? Write %s%s", near, g.tag(route, near), g.keys[near].Value)
	case validRouteName(word) && word != "" && route == "":
		f.instead = fmt.Sprintf("%s.KEY=VALUE, or %s.%s.KEY=VALUE when %s is to be a route", g.prefix, g.prefix, word, word)
	default:
		f.instead = fmt.Sprintf("%s.KEY=VALUE with one of: %s", g.prefix, g.names())
	}
	return f
}

func (g *Grammar) names() string {
	names := make([]string, len(g.list))
	for i := range g.list {
		names[i] = g.list[i].Name
	}
	return strings.Join(names, ", ")
}

// tag returns a tag up to its value.
func (g *Grammar) tag(route, key string) string {
	if route == "" {
		return g.prefix + "." + key + "="
	}
	return g.prefix + "." + route + "." + key + "="
}

func validRouteName(s string) bool {
	if len(s) > maxRouteLen {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9':
		case (b == '-' || b == '_') && i > 0:
		default:
			return false
		}
	}
	return true
}

func orKey(k *key) string {
	if k == nil {
		return "KEY"
	}
	return k.Name
}
