package policy

import (
	"bytes"
	"regexp"

	"serai/internal/urlpath"
)

// Rewrite replaces the first part of a path that a regular expression matches. It is
// compiled when it is parsed, once for all instances that ask for it.
type Rewrite struct {
	pattern, replacement string
	regex                *regexp.Regexp
	// prefix is what every match begins with, perhaps empty; anchored says that a match
	// begins where the path does.
	prefix   []byte
	anchored bool
	longest  int // path that the expression may be run on for its size, in bytes
	parts    []rewritten
	// instructions and ranges are what the expression is compiled to, for its size.
	instructions, ranges int
}

// rewritten is a part of a replacement: a literal, or what a group has matched.
type rewritten struct {
	literal string
	group   int
}

// maxWork bounds the product of a path's bytes and an expression's steps, to which the time is
// in proportion that RE2 takes: so no request costs much more than ten milliseconds.
const maxWork = 512 << 10

// String returns the rewrite as its tag writes it.
func (r *Rewrite) String() string {
	if r == nil {
		return ""
	}
	return r.pattern + " " + r.replacement
}

// mayMatch reports whether path has what every match begins with.
func (r *Rewrite) mayMatch(path []byte) bool {
	if r.anchored {
		return bytes.HasPrefix(path, r.prefix)
	}
	return bytes.Contains(path, r.prefix)
}

// rewrite applies a Rewrite, behind strip.
type rewrite struct{ *Rewrite }

var _ ForwardPolicy = (*rewrite)(nil)

func compileRewrite(o *OfInstance) Policy {
	if o.Rewrite == nil {
		return nil
	}
	return &rewrite{o.Rewrite}
}

// Forward implements ForwardPolicy. The expression reads the path's bytes as they came;
// those that it does not match stay as they are. What is no path any more is refused:
// so are dot segments, in any reading, because nobody can tell what a group that has
// matched ".." leads out of.
func (p *rewrite) Forward(f *Forward) {
	path := f.Path
	if len(path) == 0 || path[0] != '/' || !p.mayMatch(path) { // the "*" of OPTIONS is no path
		return
	}
	most := f.Limits.longestPath()
	if len(path) > min(p.longest, most) {
		f.Refuse("the path is too long to be rewritten")
		return
	}
	groups := p.regex.FindSubmatchIndex(path)
	if groups == nil {
		return
	}
	to := append(f.Values.Start(), path[:groups[0]]...)
	for _, part := range p.parts {
		to = append(to, part.literal...)
		if at := 2 * part.group; at > 0 && groups[at] >= 0 {
			to = append(to, path[groups[at]:groups[at+1]]...)
		}
		if len(to) > most {
			break
		}
	}
	to = append(to, path[groups[1]:]...)
	switch {
	case len(to) > most:
		f.Refuse("the path that the route makes of this one is too long")
	case !isPath(to):
		f.Refuse("what the route makes of this path is no path")
	case urlpath.HasDots(to):
		f.Refuse("the path that the route makes of this one has dot segments")
	default:
		f.SetPath(f.Values.Keep(to))
	}
}

// isPath reports whether s may stand in a request line as an absolute path (RFC 9112
// section 3.2.1), without a query.
func isPath(s []byte) bool {
	for _, b := range s {
		if b <= ' ' || b >= 0x7f || b == '?' || b == '#' {
			return false
		}
	}
	return len(s) > 0 && s[0] == '/'
}

// Explain implements Policy.
func (p *rewrite) Explain() string {
	return "rewrite: in the path that is sent, the first part that " + p.pattern + " matches becomes " + p.replacement
}
