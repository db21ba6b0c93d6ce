package router

import (
	"bytes"

	"serai/internal/urlpath"
)

// isPlain reports whether every server takes the request's path and method for what they
// are written as.
func (q *Query) isPlain() bool {
	n := len(q.Path)
	return urlpath.Plain(q.Path) && (n < 2 || q.Path[n-1] != '/') && isUpper(q.Method)
}

// isUpper reports whether a method has no lower-case letters.
func isUpper(method []byte) bool {
	for _, b := range method {
		if 'a' <= b && b <= 'z' {
			return false
		}
	}
	return true
}

// What the readings of a path may cost where there are guards: each is looked up.
const (
	maxSegments     = 256
	maxReadSegments = 4 << 10   // of all readings together
	maxReadBytes    = 128 << 10 // likewise
)

// costly reports whether a path has so many readings that nobody looks at them all.
func costly(path []byte) bool {
	if urlpath.Plain(path) {
		return false
	}
	segments, readings := urlpath.Segments(path), urlpath.Count(path)
	return segments > maxSegments || segments*readings > maxReadSegments || len(path)*readings > maxReadBytes
}

// disguised reports whether the instances of the route may take the request for one that
// another route, with a guard, would have taken: "/%61dmin" and "//admin" are /admin to many
// servers, "post" is POST to some. Nobody writes so by chance. It is Found where they do not.
func (f *finding) disguised(exact *entry, r *Route) Miss {
	path, method := f.q.Path, f.q.Method
	if costly(path) {
		return Disguised
	}
	f.literal = true // the readings say what dot segments are
	defer func() { f.q.Path, f.q.Method, f.literal, f.decoded = path, method, false, false }()
	if f.readGuarded(exact, r, path) {
		return Disguised
	}
	if isUpper(method) {
		return Found
	}
	// Django, Symfony and Werkzeug read methods in upper case.
	if f.q.Method = bytes.ToUpper(method); f.readGuarded(exact, r, path) {
		return DisguisedMethod
	}
	return Found
}

// readGuarded reports whether another route, with a guard, takes the request in some reading
// of its path.
func (f *finding) readGuarded(exact *entry, r *Route, path []byte) bool {
	for reading, decoded := range urlpath.Readings(path) {
		f.q.Path, f.decoded = reading, decoded
		if f.anotherGuards(exact, r) {
			return true
		}
		// To many frameworks "/login/" is /login. Where a route claims it as it is written,
		// they are meant to be two.
		if n := len(reading); n > 1 && reading[n-1] == '/' && !(r.Exact && r.Path == string(path)) {
			f.q.Path = bytes.TrimRight(reading, "/")
			if len(f.q.Path) > 0 && f.anotherGuards(exact, r) {
				return true
			}
		}
	}
	return false
}

// anotherGuards reports whether the request as it is read now would go to another route,
// whose guards the one that was found does not have.
func (f *finding) anotherGuards(exact *entry, r *Route) bool {
	other := f.find(exact)
	return other != nil && other != r && other.Policies.Guards() && !r.Policies.SameGuards(other.Policies)
}
