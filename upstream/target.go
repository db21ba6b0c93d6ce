// Package upstream answers: which address, and is it ready?
//
// An Endpoint is one address and all that is known about it: readiness, ejection,
// requests in flight, latency, idle connections. It outlives routing tables and is
// shared by all routes that name it. A Pool is the immutable list of members that one
// route balances over; a Room is where requests wait while no member has a place.
package upstream

import "time"

// Scheme is the protocol of an instance.
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

// Secure reports whether the instance uses TLS.
func (s Scheme) Secure() bool { return s == HTTPS || s == H2 || s == GRPCS }

// HTTP2 reports whether the instance speaks HTTP/2.
func (s Scheme) HTTP2() bool { return s >= H2C }

// GRPC reports whether the instance speaks gRPC.
func (s Scheme) GRPC() bool { return s == GRPC || s == GRPCS }

// Check is an active probe. The zero Check means: a TCP connect at start only.
type Check struct {
	// Path is requested with GET, exactly as written; empty means no active check.
	Path string
	// Host is the Host field that is sent, and with TLS the name that is sent and
	// verified if the Target has none; empty means the address.
	Host     string
	Interval time.Duration
	Timeout  time.Duration
	// StatusMin and StatusMax are the range of statuses that pass, both included.
	StatusMin, StatusMax int
	// GRPC says that the path is called as a method of gRPC's health service, for
	// Service; empty for the whole server. Only with HTTP/2.
	GRPC    bool
	Service string
}

// Target is the identity of an Endpoint: its address, its protocol, and how it is
// probed. It is comparable: equal targets share one Endpoint.
type Target struct {
	// Address is host:port, an IPv6 host in brackets.
	Address string
	// Instance distinguishes two processes on one address: the allocation ID, or the
	// registration's ID if there is none.
	Instance string
	// Namespace and Job are the owners: what all instances share is divided among them.
	// An allocation has one of each.
	Namespace, Job string
	Scheme         Scheme
	// TLSName is the name that is verified and sent as SNI; empty means the host of the
	// request or of the check. TLSInsecure accepts any certificate. Both only with TLS.
	TLSName     string
	TLSInsecure bool
	// Peer is whom serai expects there in Consul's mesh, whatever the Scheme, which is spoken
	// within the mesh's TLS; zero outside of the mesh.
	Peer Peer
	// ProxyProtocol is the version of the PROXY protocol header that is sent: 0, 1 or
	// 2.
	ProxyProtocol uint8
	Check         Check
}
