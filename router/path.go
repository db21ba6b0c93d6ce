package router

import (
	"fmt"
	"strings"

	"serai/internal/urlpath"
)

// maxPath bounds the paths that a route may claim, in bytes.
const maxPath = 1024

// parsePrefixes reads the path tag.
func parsePrefixes(d *draft, value string) *flaw {
	return eachElement(value, "path", func(s string) *flaw {
		f := checkPath(s)
		if f == nil {
			d.Prefixes = appendNew(d.Prefixes, trimSlash(s))
		}
		return f
	})
}

// parseExact reads the path-exact tag.
func parseExact(d *draft, value string) *flaw {
	return eachElement(value, "path", func(s string) *flaw {
		f := checkPath(s)
		if f == nil {
			d.Exact = appendNew(d.Exact, s)
		}
		return f
	})
}

// parseStrip reads the strip tag.
func parseStrip(d *draft, value string) *flaw {
	f := checkPath(value)
	if f == nil {
		if d.Instance.Strip = trimSlash(value); d.Instance.Strip == "/" {
			d.Instance.Strip = ""
		}
	}
	return f
}

// trimSlash removes trailing slashes, except of the root.
func trimSlash(s string) string {
	if s = strings.TrimRight(s, "/"); s == "" {
		return "/"
	}
	return s
}

// checkPath reports what is wrong with a path in a tag. Paths are compared with
// requests byte by byte, so a tag must write them as requests do.
func checkPath(s string) *flaw {
	switch {
	case s[0] != '/':
		return &flaw{fmt.Sprintf("path %s does not begin with a slash", quote(s)), "/" + printable(s)}
	case len(s) > maxPath:
		return &flaw{fmt.Sprintf("the path has more than %d bytes", maxPath), "a shorter prefix"}
	case strings.HasSuffix(s, "/*"):
		return &flaw{fmt.Sprintf("path %s ends in a star, which is not a pattern", quote(s)), fmt.Sprintf("%s, which takes all that is below it", printable(trimSlash(s[:len(s)-1])))}
	case strings.ContainsAny(s, "?#"):
		return &flaw{fmt.Sprintf("path %s contains a query or fragment", quote(s)), "only the path; the query as a condition in query"}
	}
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b >= 0x7f || strings.IndexByte(`"<>\^{|}`+"`", b) >= 0 {
			return &flaw{fmt.Sprintf("path %s contains a byte that no request path has", quote(s)), fmt.Sprintf("%%%02X in its place", b)}
		}
		if s[i] == '%' && (i+2 >= len(s) || urlpath.Hex(s[i+1]) > 15 || urlpath.Hex(s[i+2]) > 15) {
			return &flaw{fmt.Sprintf("path %s has a %% that is not followed by two hexadecimal digits", quote(s)), "%25 for the sign itself"}
		}
	}
	if urlpath.HasDots([]byte(s)) {
		return &flaw{fmt.Sprintf("path %s contains a dot segment", quote(s)), "the path without . and .. segments"}
	}
	return nil
}

// takesPath reports whether a claim on path, exact or as a prefix, matches the path of
// a request.
func takesPath(path string, exact bool, request []byte) bool {
	if exact {
		return string(request) == path
	}
	if len(path) == 1 {
		return true // the root: no path is outside it, and the "*" of OPTIONS is below it
	}
	if len(request) < len(path) || string(request[:len(path)]) != path {
		return false
	}
	rest := request[len(path):]
	return len(rest) == 0 || rest[0] == '/' && !urlpath.Climbs(rest)
}

// takesPath is takesPath for a route, and for the request as it is read now.
func (f *finding) takesPath(r *Route) bool {
	if path := f.q.Path; f.literal && !r.Exact && len(path) > len(r.Path) && len(r.Path) > 1 {
		return string(path[:len(r.Path)]) == r.Path && path[len(r.Path)] == '/'
	}
	return takesPath(r.Path, r.Exact, f.q.Path)
}
