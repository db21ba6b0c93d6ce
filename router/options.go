package router

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"serai/internal/coding"
	"serai/policy"
	"serai/upstream"
)

// Options is what a Builder needs. Zero values mean the defaults named.
type Options struct {
	// Registry has the endpoints and rooms. Required.
	Registry *upstream.Registry
	// Prefix is the prefix of our tags, "ingress" by default.
	Prefix string
	// DefaultHost is the host of services whose tags name none, such as
	// {service}.example.org: names in braces stand for what the instance is (service,
	// namespace, job, datacenter, source). Empty means that they have none.
	DefaultHost string
	// Class is the ingress class that is served: only routes with the same class tag,
	// and only routes without the tag when it is empty.
	Class string
	// Node and Datacenter say where this serai runs, for the prefer tag; empty when
	// unknown. Node is a node ID as in registrations, ConsulNode the name that the same
	// node has in Consul. What is at the loopback of another node is refused.
	Node, ConsulNode, Datacenter string
	// Owners are the host patterns that a namespace owns: no other namespace may claim
	// them, and it may claim no others. "*.example.org" covers all names below
	// example.org at any depth, "*" all names; the longest pattern decides. Namespaces
	// that are not listed may claim what nobody owns.
	Owners map[string][]string
	// Share are the namespaces that may claim a host pattern together, by pattern; no
	// others may. A pattern covers the same as in Owners, which take precedence.
	// SharedHosts lets all namespaces claim all hosts.
	Share       map[string][]string
	SharedHosts bool
	// Reserved are paths that, with everything below them, only the operator's file may
	// claim.
	Reserved []string
	// Catalog has the policies and auths that tags may name, nil for none. With Owners
	// and Share it can be replaced later: see Builder.Configure.
	Catalog *policy.Catalog
	// Rates is what the rate limits of all routes share; one with the defaults when nil.
	Rates *policy.Rates
	// Encoders is what compresses answers, as Rates.
	Encoders *coding.Encoders
	// Quotas bound what the table holds.
	Quotas Quotas
	// Linger is how long a route stays after its last instance has gone, 60s by
	// default: its requests wait for the next one. Negative means no lingering.
	Linger time.Duration
	// HTTPSOnly redirects plain HTTP of every route to https, except routes with
	// tls=off and routes with a redirect of their own.
	HTTPSOnly bool
	// Networks are where instances may be; none means all addresses that a service can
	// have. NoLoopback refuses loopback addresses in Nomad's registrations, because
	// they mean another machine on each node.
	Networks   []netip.Prefix
	NoLoopback bool
	// Own names the part of serai that listens at an address, such as "the listener
	// http", empty for none: requests to an instance there would come back to serai.
	// Nil means that nothing is known.
	Own func(netip.AddrPort) string
	// Nomad reports whether Nomad's agent answers at an address, at a port other
	// than its usual ones. Nil knows of none.
	Nomad func(netip.AddrPort) bool
	// Consul is the same for Consul's agent.
	Consul func(netip.AddrPort) bool
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger gets each rejection once; nil discards them.
	Logger *slog.Logger
}

// Validate reports all that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Registry == nil {
		errs = append(errs, errors.New("registry is missing"))
	}
	if strings.ContainsAny(o.Prefix, "=, \t\r\n") || strings.HasSuffix(o.Prefix, ".") {
		errs = append(errs, fmt.Errorf("tag prefix %q contains a blank, comma or equals sign, or ends in a dot", o.Prefix))
	}
	if o.Class != "" && (!isToken(o.Class) || len(o.Class) > maxRouteLen) {
		errs = append(errs, fmt.Errorf("class %q is not up to %d letters, digits, dashes and underscores", o.Class, maxRouteLen))
	}
	if err := CheckDefaultHost(o.DefaultHost); err != nil {
		errs = append(errs, fmt.Errorf("default host %q: %w", o.DefaultHost, err))
	}
	errs = append(errs, o.ValidateHosts(), o.Quotas.validate())
	return errors.Join(errs...)
}

// ValidateHosts reports what is wrong with Owners and Share.
func (o *Options) ValidateHosts() error {
	_, err := newOwners(o.Owners)
	return errors.Join(err, o.validateShare())
}

// validateShare reports what is wrong with Share.
func (o *Options) validateShare() error {
	var errs []error
	written := make(map[string]string) // how, by what it means
	for _, pattern := range slices.Sorted(maps.Keys(o.Share)) {
		host, f := parseHostPattern(pattern)
		if f != nil {
			errs = append(errs, fmt.Errorf("share %q: %s; want %s", pattern, f.why, f.instead))
			continue
		}
		if other, twice := written[host]; twice {
			errs = append(errs, fmt.Errorf("share %q and share %q are the same host; want one block", other, pattern))
		}
		written[host] = pattern
		if len(o.Share[pattern]) == 0 {
			errs = append(errs, fmt.Errorf("share %q: no namespace is named; want those that may claim it", pattern))
		}
		for _, n := range o.Share[pattern] {
			if n == "" || strings.ContainsAny(n, "*!") {
				errs = append(errs, fmt.Errorf("share %q: %q is not the name of a namespace; want each of them by name", pattern, n))
			}
		}
	}
	return errors.Join(errs...)
}

// Overruled is a pattern of Share that Owners leave without its effect.
type Overruled struct {
	Share string
	// Namespace is one that owns all that the pattern covers, by Pattern; or one that
	// the pattern is shared with, and that may claim only what it owns, where Pattern
	// is empty.
	Namespace, Pattern string
}

// Overruled returns the patterns of Share that Owners leave without effect. Invalid ones are
// left out: ValidateHosts reports them.
func (o *Options) Overruled() (all []Overruled) {
	owners, err := newOwners(o.Owners)
	if err != nil || owners == nil {
		return nil
	}
	for _, pattern := range slices.Sorted(maps.Keys(o.Share)) {
		host, f := parseHostPattern(pattern)
		if f != nil {
			continue
		}
		sharers := slices.Compact(slices.Sorted(slices.Values(o.Share[pattern])))
		held, by := owners.of([]byte(host))
		if held != nil {
			if !slices.Equal(held, sharers) {
				all = append(all, Overruled{pattern, held[0], by})
			}
			continue
		}
		for _, n := range sharers {
			if owners.listed[n] {
				all = append(all, Overruled{pattern, n, ""})
			}
		}
	}
	return all
}

// shares returns the patterns of Share by namespace.
func (o *Options) shares() map[string][]string {
	patterns := make(map[string][]string)
	for pattern, namespaces := range o.Share {
		for _, n := range namespaces {
			patterns[n] = append(patterns[n], pattern)
		}
	}
	return patterns
}

func (o *Options) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = "ingress"
	}
	o.Quotas.setDefaults()
	if o.Rates == nil {
		o.Rates = policy.NewRates(0)
	}
	if o.Encoders == nil {
		o.Encoders = coding.NewEncoders(0)
	}
	if o.Linger == 0 {
		o.Linger = time.Minute
	}
	if o.Own == nil {
		o.Own = func(netip.AddrPort) string { return "" }
	}
	if o.Nomad == nil {
		o.Nomad = func(netip.AddrPort) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}
