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

// Why says what such a request is answered, and why; empty for Found.
func (m Miss) Why() string {
	return [...]string{"", "404: no route takes this host", "404: routes take this host, none this path",
		"404: routes take this host and path, but want another method, header or query",
		"400: an instance may read the path as one that a guarded route of this host takes",
		"400: an instance may read the method as one that a guarded route of this host takes"}[m]
}
