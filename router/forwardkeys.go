package router

import (
	"strconv"

	"serai/upstream"
)

// forwardKeys are the keys for what answers instead of an instance, and for the path
// that an instance gets.
func forwardKeys() []key {
	return []key{{
		named: once,
		Key: Key{Name: "strip", Value: "/PREFIX", Default: "-", Example: "/api",
			Meaning: "prefix that is removed from the path of the request to the instance, and sent as X-Forwarded-Prefix"},
		parse:  parseStrip,
		also:   []string{"strip-prefix", "stripprefix"},
		member: func(m *upstream.Member, _ *upstream.Target) string { return m.Strip },
	}, {
		named: once,
		Key: Key{Name: "redirect", Value: "https or URL", Default: "-", Example: "https://b.example.org{path}?{query}",
			Meaning: "answers with a redirect to: `https`, or a URL with `{host}`, `{path}`, `{query}` (without its `?`: `https://new.example.org{path}?{query}`; where a request has no query, a `?` or `&` before it is left out)"},
		parse: parseRedirect,
		also:  []string{"redirect-to", "redirect-url"},
		route: func(o *RouteOptions) string {
			if o.Redirect == nil {
				return ""
			}
			return o.Redirect.String()
		},
	}, {
		named: once,
		Key: Key{Name: "redirect-status", Value: "301, 302, 303, 307, 308", Default: "308", Example: "302", With: "redirect=https",
			Meaning: "status of the redirect"},
		parse: parseRedirectStatus,
		also:  []string{"redirect-code"},
		route: func(o *RouteOptions) string {
			if o.Redirect == nil {
				return ""
			}
			return strconv.Itoa(o.Redirect.Status)
		},
	}}
}
