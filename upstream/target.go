// Package upstream answers: which address, and is it fit?
//
// An Endpoint is one address and all that is known of it: readiness, ejection,
// requests in flight, latency, idle connections. It outlives routing tables
// and is shared by all routes that name it. A Pool is the immutable list of
// members that one route balances over; a Room is where requests wait while
// no member is ready.
package upstream

import "time"

// Scheme is what is spoken to an instance.
type Scheme uint8

// The schemes of the scheme tag.
const (
	HTTP  Scheme = iota
	HTTPS        // HTTP/1 over TLS
	H2C          // HTTP/2 over plain TCP, with prior knowledge
	GRPC         // the same, for gRPC
	H2           // HTTP/2 over TLS
	GRPCS        // the same, for gRPC
)

// Secure reports whether the instance is spoken to over TLS.
func (s Scheme) Secure() bool { return s == HTTPS || s == H2 || s == GRPCS }

// HTTP2 reports whether it speaks HTTP/2.
func (s Scheme) HTTP2() bool { return s >= H2C }

// GRPC reports whether it speaks gRPC.
func (s Scheme) GRPC() bool { return s == GRPC || s == GRPCS }

// Check is an active probe. The zero Check means: a TCP connect at start only.
type Check struct {
	// Path is requested with GET, as it is written; empty means no active check.
	Path string
	// Host is the Host field sent, and over TLS the name that is sent and
	// verified where the Target has none; empty means the address.
	Host     string
	Interval time.Duration
	Timeout  time.Duration
	// StatusMin and StatusMax bound the good answers, both included.
	StatusMin, StatusMax int
	// GRPC says that the path is asked as a method of gRPC's health service, for
	// Service; empty for the server as a whole. Only with HTTP/2.
	GRPC    bool
	Service string
}

// Target is the identity of an Endpoint: what is dialled, how, and how it is
// probed. It is comparable: equal targets share one Endpoint.
type Target struct {
	// Address is host:port, an IPv6 host in brackets.
	Address string
	// Instance tells two processes on one address apart: the allocation ID,
	// or the registration's ID where there is none.
	Instance string
	// Namespace and Job are whose it is: what all instances need is shared out
	// among them. An allocation has one of each.
	Namespace, Job string
	Scheme         Scheme
	// TLSName is the name verified and sent as SNI; empty means the host of the
	// request or of the check. TLSInsecure accepts any certificate. Both only over TLS.
	TLSName     string
	TLSInsecure bool
	// ProxyProtocol is the PROXY protocol version spoken first: 0, 1 or 2.
	ProxyProtocol uint8
	Check         Check
}
