package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
)

// Limits for the tags of one instance. They are far beyond what a service needs, and
// keep a hostile one from filling the memory.
const (
	maxTags     = 512  // with our prefix, in one instance
	maxTag      = 4096 // bytes of one tag
	maxRoutes   = 64   // in one instance
	maxList     = 128  // elements of one list
	maxRouteLen = 64   // bytes of a route name
	maxClaims   = 1024 // similar to ours, in one instance
	maxNear     = 8    // tags that only look like ours, of one instance
)

// Problem is one reason why tags of an instance are refused.
type Problem struct {
	// Route is the name of the refused route, printable. Whole says that every route of
	// the instance is refused, None that no route is.
	Route string
	Whole bool
	None  bool
	// Tag is the tag as written, printable and shortened.
	Tag string
	// Why says what is wrong, Instead what to write.
	Why, Instead string
	// Hosts are the hosts of the refused route, as far as they could be read.
	Hosts []string
}

// Grammar parses tags.
type Grammar struct {
	prefix    string
	list      []key
	keys      map[string]*key
	claims    map[string]bool // keys that decide which requests a route takes
	httpsOnly bool            // see Options
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

// reading is one route whose tags are being parsed.
type reading struct {
	draft
	seen     map[string]bool // keys that must not occur again
	first    string          // its first tag
	guard    guarding
	hosted   bool // some tag says of its host
	problems []Problem
}

// Parse reads the tags of one instance. It returns the definitions without errors,
// sorted by name, and what is wrong with the others. Of these, those with a guard are
// among the definitions, closed.
func (g *Grammar) Parse(tags []string) ([]Definition, []Problem) {
	var problems []Problem
	routes := make(map[string]*reading)
	ours := 0
	for _, tag := range tags {
		rest, ok := g.cut(tag)
		if !ok {
			if p, near := g.near(tag); near && len(problems) < maxNear {
				problems = append(problems, p)
			}
			continue
		}
		if ours++; ours > maxTags {
			return nil, []Problem{{
				Whole: true, Tag: printable(tag),
				Why:     fmt.Sprintf("the instance has more than %d tags of %s", maxTags, g.prefix),
				Instead: "use fewer routes, or lists such as host=a.example.org,b.example.org",
			}}
		}
		if rest == "" {
			problems = append(problems, Problem{
				None: true, Tag: printable(tag), Why: "the tag has no key", Instead: g.prefix + ".host=NAME",
			})
			continue
		}
		left, value, valued := strings.Cut(rest[1:], "=")
		name, word := splitKey(left)
		r := routes[name]
		if r == nil {
			if len(routes) >= maxRoutes {
				return nil, []Problem{{
					Whole: true, Tag: printable(tag),
					Why:     fmt.Sprintf("the instance has more than %d routes", maxRoutes),
					Instead: "join routes with lists, or split the service",
				}}
			}
			r = &reading{draft: draft{Definition: newDefinition(name), redirectStatus: 308}, seen: make(map[string]bool), first: tag}
			routes[name] = r
		}
		r.hosted = r.hosted || word == "host"
		f := g.read(r, tag, word, value, valued)
		g.noteGuard(r, word, f)
		if f != nil {
			f = f.orUnknownVariable(tag)
			r.problems = append(r.problems, Problem{Route: printable(name), Tag: printable(tag), Why: f.why, Instead: f.instead})
		}
	}
	var definitions []Definition
	strays := len(problems) > 0
	for _, r := range routes {
		strays = strays || !r.hosted
		if len(r.problems) == 0 {
			r.problems = g.finish(r)
		}
		if len(r.problems) == 0 {
			definitions = append(definitions, *r.Definition)
			continue
		}
		if r.closes() {
			definitions = append(definitions, *r.closed())
		}
		for i := range r.problems {
			r.problems[i].Hosts = r.Hosts
		}
		problems = append(problems, r.problems...)
	}
	if strays && len(definitions) > 0 {
		if p := g.strayGuard(tags, routes); p != nil {
			for i := range definitions {
				definitions[i] = *definitions[i].closed()
			}
			problems = append(problems, *p)
		}
	}
	slices.SortFunc(definitions, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(problems, Problem.compare)
	return definitions, problems
}

// orUnknownVariable is the flaw of a tag in which Nomad has left ${NAME} as it stands: that
// is what is wrong.
func (f *flaw) orUnknownVariable(tag string) *flaw {
	_, rest, found := strings.Cut(tag, "${")
	name, _, closed := strings.Cut(rest, "}")
	if !found || !closed {
		return f
	}
	return &flaw{
		fmt.Sprintf("%s; Nomad has not replaced %s, since it knows no such variable where the instance runs", f.why, quote("${"+name+"}")),
		"a variable that is there, such as ${NOMAD_META_x} with meta { x = \"...\" } in the job, or no variable",
	}
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
	if !discovery.NearPrefix(tag, g.prefix) {
		return Problem{}, false
	}
	word, rest, _ := strings.Cut(tag, ".")
	left, value, _ := strings.Cut(rest, "=")
	left = strings.ToLower(left)
	if g.keys[left[strings.LastIndexByte(left, '.')+1:]] == nil {
		return Problem{}, false
	}
	return Problem{
		None: true, Tag: printable(tag), Why: fmt.Sprintf("the tag begins with %s, not %s: it says nothing to serai", quote(word), quote(g.prefix)),
		Instead: printable(g.prefix + "." + left + "=" + value),
	}, true
}

// read reads one tag into r.
func (g *Grammar) read(r *reading, tag, word, value string, valued bool) *flaw {
	if !validRouteName(r.Name) {
		if k := g.keys[word]; g.claims[word] && valued && trim(value) != "" && len(tag) <= maxTag {
			r.guard.unclear = k.parse(&r.draft, trim(value)) != nil || r.guard.unclear // for the case that it has a guard
		}
		return &flaw{
			fmt.Sprintf("%s is not a route name", quote(r.Name)),
			fmt.Sprintf("%s.ROUTE.%s=VALUE, where ROUTE has up to %d lower-case letters, digits, dashes and underscores", g.prefix, orKey(g.keys[word]), maxRouteLen),
		}
	}
	k := g.keys[word]
	if k == nil {
		return g.unknown(r.Name, word, value, valued)
	}
	example := g.tag(r.Name, k.Name) + k.Value
	value = trim(value)
	switch {
	case !valued:
		return &flaw{"the tag has no value", example}
	case len(tag) > maxTag:
		return &flaw{fmt.Sprintf("the tag has more than %d bytes", maxTag), "several routes with shorter lists"}
	}
	if f := k.check(value, example); f != nil {
		return f
	}
	if r.seen[word] {
		return &flaw{fmt.Sprintf("%s is given twice for this route", word), "one tag " + example}
	}
	r.seen[word] = !k.repeated
	if len(value) < len(tag)/2 {
		value = strings.Clone(value) // a route must not keep the blanks around it
	}
	r.size += len(value)
	r.note(k, value)
	return k.read(&r.draft, value, example)
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

// finish checks what only all tags of a route together show.
func (g *Grammar) finish(r *reading) []Problem {
	f := (*flaw)(nil)
	switch {
	case len(r.Hosts) == 0:
		f = &flaw{"the route has no host", g.tag(r.Name, "host") + "NAME"}
	case len(r.Hosts)*(len(r.Prefixes)+len(r.Exact)) > maxClaims:
		r.guard.unclear = true
		f = &flaw{fmt.Sprintf("the route claims more than %d pairs of host and path", maxClaims), "several routes with shorter lists"}
	case r.Instance.Check.GRPC && !r.Instance.Scheme.HTTP2():
		f = &flaw{"check=grpc needs an instance that speaks HTTP/2", g.tag(r.Name, "scheme") + "grpc, grpcs, h2c or h2"}
	case r.Options.GRPCWeb && !r.Instance.Scheme.HTTP2():
		f = &flaw{"grpc-web=on needs an instance that speaks HTTP/2", g.tag(r.Name, "scheme") + "grpc, grpcs, h2c or h2"}
	}
	if f == nil {
		f = r.incomplete()
	}
	if f != nil {
		return []Problem{{Route: printable(r.Name), Tag: printable(r.first), Why: f.why, Instead: f.instead}}
	}
	r.settle(r.redirectStatus, g.httpsOnly)
	return nil
}

// incomplete checks what only all keys of policies together show, of a route's tags or
// of a policy block.
func (r *reading) incomplete() *flaw {
	return cmp.Or(r.finishRate(), r.finishCORS(r.seen), r.finishErrors())
}

func (p Problem) compare(q Problem) int {
	return cmpStrings(p.Route, q.Route, p.Tag, q.Tag, p.Why, q.Why)
}

// cmpStrings compares pairs of strings in turn.
func cmpStrings(pairs ...string) int {
	for i := 0; i < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
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
