package router

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"serai/policy"
)

// guardKeys are the keys that decide which requests a route lets through: by the
// client's address, and by how many there are.
func guardKeys() []key {
	return []key{{
		Key: Key{Name: "allow", Guard: true, Value: "CIDR,...", Default: "-", Example: "10.0.0.0/8,2001:db8::/32,192.0.2.1",
			Meaning: "only clients with one of these addresses are let through, which may be networks or single ones; others get 403 ([docs/policies.md](policies.md#allow-and-deny))"},
		parse: func(d *draft, value string) (f *flaw) { d.Options.Allow, f = parseAddresses(d, value); return f },
		also:  []string{"ip-allow", "allowlist", "whitelist", "ip-whitelist", "ipallowlist", "sourcerange", "allow-ip", "acl", "restrict", "ip-restriction", "ip-filter"},
		route: func(o *RouteOptions) string { return addressesWord(o.Allow) },
	}, {
		Key: Key{Name: "deny", Guard: true, Value: "CIDR,...", Default: "-", Example: "10.1.0.0/16",
			Meaning: "clients with these addresses get 403, also where `allow` has them"},
		parse: func(d *draft, value string) (f *flaw) { d.Options.Deny, f = parseAddresses(d, value); return f },
		also:  []string{"ip-deny", "denylist", "blacklist", "block", "deny-ip"},
		route: func(o *RouteOptions) string { return addressesWord(o.Deny) },
	}, {
		Key: Key{Name: "rate", Guard: true, Value: "N/s, N/m, N/h", Default: "none", Example: "100/s",
			Meaning: "requests a second, minute or hour of one client, on each node; more get 429 with Retry-After ([docs/policies.md](policies.md#rate))"},
		parse: parseRate,
		also:  []string{"rate-limit", "ratelimit", "limit-rps", "requests-per-second", "throttle"},
		route: func(o *RouteOptions) string {
			if o.Rate == nil {
				return ""
			}
			return o.Rate.String()
		},
	}, {
		Key: Key{Name: "rate-burst", Guard: true, Value: "N", Default: "the number of `rate`", Example: "20", With: "rate=5/m",
			Meaning: "how many of these requests may come at once"},
		parse: func(d *draft, value string) (f *flaw) {
			d.rate.Burst, f = number(value, 1, maxRate)
			return f
		},
		also: []string{"burst"},
		route: func(o *RouteOptions) string {
			if o.Rate == nil || o.Rate.Burst == o.Rate.Number {
				return ""
			}
			return strconv.Itoa(o.Rate.Burst)
		},
	}, {
		Key: Key{Name: "rate-by", Guard: true, Value: "client, header:NAME, host", Default: "client", Example: "header:x-api-key", With: "rate=5/m",
			Meaning: "what requests are counted by: the client's address (of IPv6 its /64), the value of a header (or the client where it is missing), or the host that is asked for"},
		parse: parseRateBy,
		also:  []string{"rate-key", "rate-source"},
		route: func(o *RouteOptions) string {
			if o.Rate == nil {
				return ""
			}
			return rateByWord(o.Rate)
		},
	}}
}

// maxRate bounds the number of rate, and rate-burst.
const maxRate = 1_000_000

func parseAddresses(d *draft, value string) (*policy.Addresses, *flaw) {
	var list []string
	most := maxList
	if d.operators {
		most = d.networks
	}
	if f := eachOf(value, "address", most, func(s string) *flaw { list = append(list, s); return nil }); f != nil {
		return nil, f
	}
	a, err := policy.ParseAddresses(list)
	return a, mistaken(err)
}

func addressesWord(a *policy.Addresses) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func rateUnits() wordList[time.Duration] {
	return wordList[time.Duration]{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}
}

func parseRate(d *draft, value string) *flaw {
	n, unit, ok := strings.Cut(value, "/")
	if !ok {
		return &flaw{fmt.Sprintf("rate %s has no unit", quote(value)), "a number of requests and a unit, such as 100/s, 100/m or 100/h"}
	}
	per, f := rateUnits().parse(unit)
	if f != nil {
		return &flaw{fmt.Sprintf("rate %s has a unit that does not exist", quote(value)), "a number of requests and a unit, such as 100/s, 100/m or 100/h"}
	}
	d.rate.Per = per
	d.rate.Number, f = number(n, 1, maxRate)
	return f
}

func parseRateBy(d *draft, value string) *flaw {
	kind, name, named := strings.Cut(value, ":")
	switch {
	case value == "client":
		d.rate.By = policy.RateByClient
	case value == "host":
		d.rate.By = policy.RateByHost
	case kind == "header" && named:
		if name = trim(name); !isToken(name) {
			return &flaw{fmt.Sprintf("%s is not a header name", quote(name)), "rate-by=header:NAME"}
		}
		d.rate.By, d.rate.Header = policy.RateByHeader, strings.ToLower(name)
	default:
		return &flaw{fmt.Sprintf("%s is not allowed here", quote(value)), "client, header:NAME or host"}
	}
	return nil
}

func rateByWord(r *policy.Rate) string {
	switch r.By {
	case policy.RateByHeader:
		return "header:" + r.Header
	case policy.RateByHost:
		return "host"
	}
	return ""
}

// finishRate checks what only all tags of the rate together show.
func (r *reading) finishRate() *flaw {
	if r.rate.Number == 0 { // rate=none, too
		for _, key := range []string{"rate-burst", "rate-by"} {
			if r.seen[key] {
				return &flaw{key + " has no effect without rate", "rate=100/s, or no " + key}
			}
		}
		return nil
	}
	rate := r.rate
	if rate.Burst == 0 {
		rate.Burst = rate.Number
	}
	r.Options.Rate = &rate
	return nil
}
