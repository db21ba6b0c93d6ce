package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// reading is one route whose tags are being parsed.
type reading struct {
	draft
	seen   map[string]bool // keys that must not occur again
	first  string          // its first tag
	guard  guarding
	hosted bool // some tag says of its host, or it has the default host
	// takesDefault says that it has the default host, if there is one.
	takesDefault bool
	problems     []Problem
}

// Parse reads the tags of one instance. It returns the definitions without errors,
// sorted by name, and what is wrong with the others. Of these, those with a guard are
// among the definitions, closed.
func (g *Grammar) Parse(tags []string) ([]Definition, []Problem) {
	return g.parse(tags, fallback{})
}

// parse is Parse of an instance with a default host.
func (g *Grammar) parse(tags []string, of fallback) ([]Definition, []Problem) {
	routes, problems, whole := g.readRoutes(tags)
	if whole == nil && switchedOff(routes) {
		return nil, nil
	}
	giveHosts(routes, of)
	if whole != nil {
		return g.refusedWhole(tags, routes, *whole)
	}
	var definitions []Definition
	var unclear []*reading
	strays := len(problems) > 0
	for _, r := range routes {
		strays = strays || !r.hosted
		if len(r.problems) == 0 {
			r.problems = g.finish(r, of)
		}
		if len(r.problems) == 0 {
			definitions = append(definitions, *r.Definition)
			continue
		}
		if r.closes() {
			definitions = append(definitions, *r.closed())
		}
		if r.unclear() {
			unclear = append(unclear, r)
		}
		for i := range r.problems {
			r.problems[i].Hosts, r.problems[i].DefaultHost = r.Hosts, r.DefaultHost
		}
		problems = append(problems, r.problems...)
	}
	slices.SortFunc(definitions, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	definitions, more := settleGuards(definitions)
	problems = append(problems, more...)
	definitions, more = closeUnclear(definitions, unclear)
	problems = append(problems, more...)
	if strays && len(definitions) > 0 {
		if p := g.strayGuard(tags, routes); p != nil {
			for i := range definitions {
				definitions[i] = *definitions[i].closed()
			}
			problems = append(problems, *p)
		}
	}
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

// readRoutes reads the tags into the routes that they name. Problems are those of tags
// that belong to no route. Whole is why all tags of the instance are refused, nil when
// they are not. Those that are too many are read as well, up to maxServiceTags, for the
// guards among them.
func (g *Grammar) readRoutes(tags []string) (routes map[string]*reading, problems []Problem, whole *Problem) {
	routes = make(map[string]*reading)
	ours := 0
	var tooMany, unclear *Problem
	for _, tag := range tags {
		rest, ok := g.cut(tag)
		if !ok {
			if p, near := g.near(tag); near && len(problems) < maxNear {
				problems = append(problems, p)
			}
			continue
		}
		if ours++; ours > maxServiceTags {
			break
		}
		if ours > maxTags && tooMany == nil {
			tooMany = wholeProblem(tag, fmt.Sprintf("the instance has more than %d tags of %s", maxTags, g.prefix),
				"use fewer routes, or lists such as host=a.example.org,b.example.org")
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
			if len(routes) >= maxRoutes && tooMany == nil {
				tooMany = wholeProblem(tag, fmt.Sprintf("the instance has more than %d routes", maxRoutes), "join routes with lists, or split the service")
			}
			r = &reading{draft: draft{Definition: newDefinition(name), redirectStatus: 308}, seen: make(map[string]bool), first: tag}
			routes[name] = r
		}
		r.hosted = r.hosted || word == "host"
		f := g.read(r, tag, word, value, valued)
		if validRouteName(name) {
			g.noteGuard(r, word, value, f)
		} else {
			g.noteGuard(r, word, value, g.readClaim(r, tag, word, value, valued))
		}
		if f == nil {
			continue
		}
		f = f.orUnknownVariable(tag)
		if name == "" && word == enableKey {
			// It may have been meant to switch the instance off.
			unclear = wholeProblem(tag, f.why, f.instead)
			continue
		}
		r.problems = append(r.problems, Problem{Route: printable(name), Tag: printable(tag), Why: f.why, Instead: f.instead})
	}
	if unclear == nil && switchedOff(routes) {
		return routes, problems, nil // however many tags it has
	}
	return routes, problems, cmp.Or(unclear, tooMany)
}

// wholeProblem refuses all tags of an instance because of one.
func wholeProblem(tag, why, instead string) *Problem {
	return &Problem{Whole: true, Tag: printable(tag), Why: why, Instead: instead}
}

// read reads one tag into r.
func (g *Grammar) read(r *reading, tag, word, value string, valued bool) *flaw {
	if !validRouteName(r.Name) {
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

// readClaim reads a tag of a route whose name is none, if it says which requests the route takes,
// for the case that it has a guard.
func (g *Grammar) readClaim(r *reading, tag, word, value string, valued bool) *flaw {
	k := g.keys[word]
	switch {
	case k == nil || !valued || len(tag) > maxTag || k.check(trim(value), "") != nil:
		return &flaw{}
	case g.claims[word]:
		return k.parse(&r.draft, trim(value))
	}
	return nil
}

// finish checks what only all tags of a route together show.
func (g *Grammar) finish(r *reading, of fallback) []Problem {
	f := (*flaw)(nil)
	switch {
	case len(r.Hosts) == 0:
		f = g.hostless(r, of)
	case len(r.Hosts)*(len(r.Prefixes)+len(r.Exact)) > maxClaims:
		f = tooManyClaims()
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

func tooManyClaims() *flaw {
	return &flaw{fmt.Sprintf("the route claims more than %d pairs of host and path", maxClaims), "several routes with shorter lists"}
}

// incomplete checks what only all keys of policies together show, of a route's tags or
// of a policy block.
func (r *reading) incomplete() *flaw {
	return cmp.Or(r.finishRate(), r.finishCORS(r.seen), r.finishErrors())
}
