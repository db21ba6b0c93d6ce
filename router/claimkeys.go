package router

import (
	"fmt"
)

// claimKeys are the keys that decide which requests a route takes. /routes does not
// list them among a route's options, because it shows each in a field of its own.
func claimKeys() []key {
	return []key{{
		Key: Key{Name: "host", Value: "NAME,...", Default: "required",
			Meaning: "names that the route answers to; `*.example.org` stands for exactly one label, `*` for any host"},
		parse: parseHosts,
		also:  []string{"hosts", "hostname", "domain", "domains", "rule", "server-name", "vhost"},
	}, {
		Key: Key{Name: "path", Value: "/PREFIX,...", Default: "/",
			Meaning: "path prefixes, matched on whole segments: `/api` takes `/api` and `/api/x`, not `/apix`"},
		parse: parsePrefixes,
		also:  []string{"paths", "path-prefix", "prefix", "location", "route"},
	}, {
		Key: Key{Name: "path-exact", Value: "/PATH,...", Default: "-",
			Meaning: "exact paths"},
		parse: parseExact,
		also:  []string{"exact"},
	}, {
		Key: Key{Name: "method", Value: "METHOD,...", Default: "-",
			Meaning: "condition: the request's method is one of these (`GET,HEAD`)"},
		parse: parseMethods,
		also:  []string{"methods"},
	}, {
		Key: Key{Name: "header", Value: "NAME: VALUE", Default: "-",
			Meaning: "condition: the header has this value (`X-Env: beta`), or is there when only NAME is given; if a request has it several times, the first counts; may be repeated"},
		parse: parseHeader, repeated: true,
		also: []string{"headers"},
	}, {
		Key: Key{Name: "query", Value: "NAME=VALUE", Default: "-",
			Meaning: "condition: the query parameter has this value (`v=2`), or is there when only NAME is given; if a request has it several times, the first counts; may be repeated"},
		parse: parseQuery, repeated: true,
		also: []string{"queries", "param"},
	}, {
		Key: Key{Name: "priority", Value: "NUMBER", Default: "0",
			Meaning: "overrides specificity; higher first"},
		parse: parsePriority,
	}, {
		Key: Key{Name: "class", Value: "NAME", Default: "unset, which matches unset",
			Meaning: "the ingress class that serves this route (`--class`)"},
		parse: parseClass,
		also:  []string{"ingress-class"},
	}}
}

func parsePriority(d *draft, value string) (f *flaw) {
	d.Priority, f = number(value, -1_000_000, 1_000_000)
	return f
}

func parseClass(d *draft, value string) *flaw {
	if !isToken(value) || len(value) > maxRouteLen {
		return &flaw{fmt.Sprintf("%s is not a class name", quote(value)), "up to 64 letters, digits, dashes and underscores"}
	}
	d.Class = value
	return nil
}
