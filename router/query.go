package router

import "serai/upstream"

// Query is what a route may ask of a request, in the bytes as they came.
type Query struct {
	// Host is the Host field or authority: perhaps with a port, in upper case,
	// with a trailing dot.
	Host   []byte
	Method []byte
	// Path is without the query; RawQuery without the question mark.
	Path, RawQuery []byte
	// Attributes answers conditions on headers, which are not met when it is
	// nil.
	Attributes upstream.Attributes
}

// Miss says why no route takes a request.
type Miss uint8

// A request is missed for the nearest of these reasons.
const (
	Found       Miss = iota // a route takes it
	NoHost                  // no route has the host
	NoPath                  // routes have the host, none the path
	NoCondition             // routes have host and path, but ask for more
)

func (m Miss) String() string {
	return [...]string{"found", "no-host", "no-path", "no-condition"}[m]
}
