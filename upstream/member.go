package upstream

import (
	"strconv"

	"serai/policy"
)

// Member is one instance in a Pool: an Endpoint and this route's options for sending
// requests there. All routes of a service for which the options are equal share it. Never
// modified once in a Pool.
type Member struct {
	Endpoint *Endpoint
	// Weight is the share of this member, 0 to 1000; 0 takes no new request.
	Weight int
	// MaxInflight bounds the requests in flight; 0 means no limit.
	MaxInflight int
	// Canary is nil unless the member takes only part of the requests.
	Canary *Canary
	// Policies are compiled from OfInstance, nil for none.
	Policies *policy.List
	// Host is the Host header sent: empty preserves the client's, otherwise it is sent
	// unchanged.
	Host string
	// Unfit says why its source takes it for unable to serve; empty when it does not. It
	// takes no new request, and its weight is 0.
	Unfit string
	// Node and Datacenter say where it runs, for Prefer.
	Node, Datacenter string
	// Alloc, Service and ID name the instance in logs and in /instances.
	Alloc, Service, ID string
	// OfInstance are the policy settings of its tags.
	policy.OfInstance
}

// Canary says which requests a member takes. Exactly one of Percent and
// Header, Cookie is set.
type Canary struct {
	// Percent of the requests that go to all canaries of the pool, 0 to 100.
	Percent float64
	// Header or Cookie is the name that must carry Value.
	Header, Cookie string
	Value          string
}

// String is the rule as the canary tag writes it.
func (c *Canary) String() string {
	switch {
	case c.Header != "":
		return "header:" + c.Header + ": " + c.Value
	case c.Cookie != "":
		return "cookie:" + c.Cookie + "=" + c.Value
	}
	return strconv.FormatFloat(c.Percent, 'f', -1, 64) + "%"
}

// Prefer says which members are preferred.
type Prefer uint8

// The values of the prefer tag.
const (
	PreferNone Prefer = iota
	PreferNode
	PreferDatacenter
)

// Attributes gives the parts of a request that a Pool needs. Results are only valid
// during the call.
type Attributes interface {
	// Header returns the first value of a header field, nil when absent.
	Header(name string) []byte
	// Cookie returns the value of a cookie, nil when absent. A client may have several
	// with one name, from other paths and domains: nth, from 0, selects one.
	Cookie(name string, nth int) []byte
	// ClientIP returns the client's address as bytes, 4 or 16.
	ClientIP() []byte
}
