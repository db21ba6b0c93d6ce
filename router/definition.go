package router

import (
	"time"

	"serai/policy"
	"serai/upstream"
)

// Definition is one route as the tags of one instance describe it. It is complete:
// defaults are filled in.
type Definition struct {
	// Name is the route's name, empty for the unnamed route.
	Name string
	// Hosts are host patterns in lower case: a name, an IP address (IPv6 in
	// brackets), "*.example.org" for exactly one more label, or "*".
	Hosts []string
	// DefaultHost says that no tag names a host: Hosts is what Options.DefaultHost gives.
	DefaultHost bool
	// Prefixes are path prefixes, without trailing slash except "/" itself.
	// Exact are exact paths. At least one of both is given.
	Prefixes, Exact []string
	// Conditions must all be met; sorted.
	Conditions []Condition
	Priority   int
	// Class is the ingress class, empty when unset.
	Class string
	// Options are taken from the newest instance that asks for the route. The route
	// keeps them.
	Options *RouteOptions
	// Instance are the options that apply to each instance separately.
	Instance InstanceOptions
	// once are the tags that no policy of the operator may give in another way, by the
	// key that they belong to.
	once map[string]string
	// layers are the own tags and the policies of the operator that apply, once they
	// have been looked up.
	layers []policy.Layer
	// cut says that it is closed, and claims less than its tags do, which is too much.
	cut bool
	// loose says that it is closed, whatever its conditions are, which cannot be read.
	loose bool

	size int // of the values of its tags, in bytes
}

// RouteOptions are the options of a route for requests, whichever instance gets them.
// Never modified once part of a Route.
type RouteOptions struct {
	Balance upstream.Balance
	Prefer  upstream.Prefer
	// Wait bounds how long a request waits for a ready instance; with 0 it does not
	// wait.
	Wait time.Duration
	// Timeout bounds the wait for the first byte of the answer's head,
	// BodyIdle each further wait.
	Timeout, BodyIdle time.Duration
	// Retries is the number of further attempts, 0 to 10. RetryPost allows
	// them whatever the method.
	Retries   int
	RetryPost bool
	// GRPCWeb has requests of gRPC-Web made gRPC.
	GRPCWeb bool
	// MaxBody bounds a request's body in bytes; 0 means no limit.
	MaxBody int64
	TLS     TLSMode
	// OfRoute are the policies. With TLSOnly there is always a redirect.
	policy.OfRoute
}

// TLSMode says whether a route's hosts get certificates.
type TLSMode uint8

// The values of the tls tag.
const (
	TLSAuto TLSMode = iota // a certificate is obtained where ACME is enabled
	TLSOff                 // no certificate is ordered
	TLSOnly                // as TLSAuto, and plain HTTP is redirected
)

// Connect says whether an instance is reached in Consul's mesh.
type Connect uint8

// The values of the connect tag.
const (
	ConnectAuto Connect = iota // if it is not reached in another way
	ConnectOn
	ConnectOff
)

// InstanceOptions are the options for sending requests to the instance that carries the
// tags.
type InstanceOptions struct {
	Scheme upstream.Scheme
	// Connect says whether the instance is reached in Consul's mesh.
	Connect Connect
	// TLSName and TLSInsecure are zero unless the Scheme uses TLS.
	TLSName     string
	TLSInsecure bool
	// Host is the Host header sent; empty preserves the client's.
	// HostIsAddress sends the instance's address and port instead.
	Host          string
	HostIsAddress bool
	policy.OfInstance
	// Weight is the instance's share, 0 to 1000; 0 takes no new request.
	Weight int
	// Canary is nil unless the instance takes only part of the requests.
	Canary *upstream.Canary
	// Check is zero unless an active check is asked for.
	Check upstream.Check
	// ProxyProtocol is the version of PROXY protocol that is sent: 0 for none, 1 or 2.
	ProxyProtocol uint8
	// MaxInflight bounds the requests in flight; 0 means no limit.
	MaxInflight int
}

// newDefinition returns a definition with the grammar's defaults.
func newDefinition(name string) *Definition {
	return &Definition{
		Name: name,
		Options: &RouteOptions{
			Wait: 10 * time.Second, Timeout: 60 * time.Second, BodyIdle: 60 * time.Second, Retries: 1,
		},
		Instance: InstanceOptions{
			Weight: 100,
			Check:  upstream.Check{Interval: 5 * time.Second, Timeout: 2 * time.Second, StatusMin: 200, StatusMax: 399},
		},
	}
}

// settle completes a definition after all tags are read: it applies what depends on
// several keys, and clears what has no effect, so that equal meanings are equal values.
// HTTPSOnly redirects plain HTTP unless the route has tls=off.
func (d *Definition) settle(redirectStatus int, httpsOnly bool) {
	if len(d.Prefixes) == 0 && len(d.Exact) == 0 {
		d.Prefixes = []string{"/"}
	}
	sortConditions(d.Conditions)
	o, i := d.Options, &d.Instance
	if o.Redirect == nil && (o.TLS == TLSOnly || httpsOnly && o.TLS == TLSAuto) {
		o.Redirect = &policy.Redirect{HTTPS: true}
	}
	if o.Redirect != nil {
		o.Redirect.Status = redirectStatus
	}
	if o.Sticky == "" {
		o.SameSite = policy.SameSiteLax
	}
	if i.Check.Path == "" {
		i.Check = upstream.Check{}
	}
	if i.Check.GRPC {
		i.Check.StatusMin, i.Check.StatusMax = 0, 0
	}
	if !i.Scheme.Secure() {
		i.TLSName, i.TLSInsecure = "", false
	}
}
