package router

import (
	"bytes"
	"fmt"
	"strings"
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
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			return &flaw{fmt.Sprintf("path %s has a %% that is not followed by two hexadecimal digits", quote(s)), "%25 for the sign itself"}
		}
	}
	if hasDots([]byte(s)) {
		return &flaw{fmt.Sprintf("path %s contains a dot segment", quote(s)), "the path without . and .. segments"}
	}
	return nil
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'f'
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
	return len(rest) == 0 || rest[0] == '/' && !climbs(rest)
}

// climbs reports whether the dot segments of rest, the part of a path after a prefix,
// lead out of that prefix. An instance may decode %2F, or take backslashes for slashes,
// before it resolves dot segments, or it may not: the result is true when any of these
// readings leads out. Empty segments and parameters ("..;x") are read as by servers
// that drop them. What is encoded twice is not decoded twice.
func climbs(rest []byte) bool {
	if bytes.IndexByte(rest, '.') < 0 && bytes.IndexByte(rest, '%') < 0 {
		return false
	}
	if !hasDots(rest) {
		return false
	}
	for reading := separators(0); reading <= slashEncoded|backslash|backslashEncoded; reading++ {
		if climbsAs(rest, reading) {
			return true
		}
	}
	return false
}

// separators are the ways to write a slash, besides the slash, that a server may
// accept.
type separators uint8

const (
	slashEncoded     separators = 1 << iota // %2F
	backslash                               // \
	backslashEncoded                        // %5C
)

// climbsAs reads rest with those separators.
func climbsAs(rest []byte, s separators) bool {
	depth := 0
	for len(rest) > 0 {
		segment, width := cutSegment(rest, s)
		rest = rest[min(len(segment)+width, len(rest)):]
		switch dots(segment) {
		case 2:
			if depth--; depth < 0 {
				return true
			}
		case 1:
		default:
			if len(segment) > 0 {
				depth++
			}
		}
	}
	return false
}

// hasDots reports whether any reading of path has a dot segment.
func hasDots(path []byte) bool {
	for len(path) > 0 {
		segment, width := cutSegment(path, slashEncoded|backslash|backslashEncoded)
		if dots(segment) > 0 {
			return true
		}
		path = path[min(len(segment)+width, len(path)):]
	}
	return false
}

// cutSegment returns the first segment of path and the length of the separator after
// it.
func cutSegment(path []byte, s separators) ([]byte, int) {
	for i, b := range path {
		switch {
		case b == '/' || b == '\\' && s&backslash != 0:
			return path[:i], 1
		case b != '%' || i+2 >= len(path):
		case s&slashEncoded != 0 && path[i+1] == '2' && path[i+2]|0x20 == 'f',
			s&backslashEncoded != 0 && path[i+1] == '5' && path[i+2]|0x20 == 'c':
			return path[:i], 3
		}
	}
	return path, 0
}

// endsSegment reports whether a server may ignore the rest of a segment: parameters
// begin, or a C string ends, or only blanks are left, which Windows drops.
func endsSegment(rest []byte) bool {
	if rest[0] == ';' {
		return true
	}
	for len(rest) >= 3 && rest[0] == '%' {
		switch hex := string(rest[1:3]); {
		case hex == "3b", hex == "3B", hex == "00":
			return true
		case hex != "20":
			return false
		}
		rest = rest[3:]
	}
	return len(rest) == 0
}

// dots returns 1 for a segment that means ".", 2 for one that means "..", and
// 0 for all others.
func dots(segment []byte) int {
	n := 0
	for len(segment) > 0 {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[0] == '%' && segment[1] == '2' && segment[2]|0x20 == 'e':
			segment = segment[3:]
		case n > 0 && endsSegment(segment):
			return n
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
}
