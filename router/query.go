package router

import "serai/upstream"

// Query is what a route may examine in a request, as the client sent it.
type Query struct {
	// Host is the Host field or authority, perhaps with a port, in upper case, or with
	// a trailing dot.
	Host   []byte
	Method []byte
	// Path is without the query; RawQuery without the question mark.
	Path, RawQuery []byte
	// Attributes gives the headers for conditions. When it is nil, conditions on
	// headers are not met.
	Attributes upstream.Attributes
}

// Miss says why no route takes a request.
type Miss uint8

// The most specific of these reasons is given.
const (
	Found           Miss = iota // a route takes it
	NoHost                      // no route has the host
	NoPath                      // routes have the host, none the path
	NoCondition                 // routes have host and path, but their conditions are not met
	Disguised                   // a server may read the path as one that another route guards
	DisguisedMethod             // a server may read the method as one that another route guards
)

func (m Miss) String() string {
	return [...]string{"found", "no-host", "no-path", "no-condition", "disguised-path", "disguised-method"}[m]
}
