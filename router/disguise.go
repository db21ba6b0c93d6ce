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
	defer func() { f.q.Path, f.q.Method, f.literal, f.spelled = path, method, false, false }()
	var buf [256]byte
	var normal []byte // nil where no route needs it
	if f.hasSpelled(exact) {
		normal = urlpath.AppendNormal(buf[:0], path)
	}
	if f.readGuarded(exact, r, path, normal) {
		return Disguised
	}
	if isUpper(method) {
		return Found
	}
	// Django, Symfony and Werkzeug read methods in upper case.
	if f.q.Method = bytes.ToUpper(method); f.readGuarded(exact, r, path, normal) {
		return DisguisedMethod
	}
	return Found
}

// readGuarded reports whether another route, with a guard, takes the request in some reading
// of its path, or of its path in normal spelling.
func (f *finding) readGuarded(exact *entry, r *Route, path, normal []byte) bool {
	// To many frameworks "/login/" is /login. Where a route claims it as it is written, they are
	// meant to be two.
	slash := !(r.Exact && r.Path == string(path))
	for reading, plain := range urlpath.Readings(path) {
		f.spelled = plain && normal != nil
		if f.guardedAs(exact, r, reading, slash) {
			return true
		}
	}
	if normal == nil {
		return false
	}
	f.spelled = true
	for reading := range urlpath.Readings(normal) {
		if f.guardedAs(exact, r, reading, slash) {
			return true
		}
	}
	return false
}

// guardedAs is readGuarded for one reading, also without slashes at its end where slash says so.
func (f *finding) guardedAs(exact *entry, r *Route, reading []byte, slash bool) bool {
	if f.q.Path = reading; f.anotherGuards(exact, r) {
		return true
	}
	if n := len(reading); slash && n > 1 && reading[n-1] == '/' {
		f.q.Path = bytes.TrimRight(reading, "/")
		return len(f.q.Path) > 0 && f.anotherGuards(exact, r)
	}
	return false
}

// anotherGuards reports whether the request as it is read now would go to another route,
// whose guards the one that was found does not have.
func (f *finding) anotherGuards(exact *entry, r *Route) bool {
	other := f.find(exact)
	return other != nil && other != r && other.Policies.Guards() && !r.Policies.SameGuards(other.Policies)
}
