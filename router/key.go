package router

import (
	"strings"

	"github.com/agext/levenshtein"
)

// Key is one word of the tag grammar, as documentation prints it.
type Key struct {
	Name    string
	Value   string // what its value looks like
	Meaning string
	Default string // "-" for none
}

// key is a Key and how it is read.
type key struct {
	Key
	// parse writes value into d. It gets no empty value.
	parse func(d *draft, value string) *flaw
	// also are words of other ingresses, and of habit, that mean this key.
	also []string
}

// flaw is what is wrong with a tag, and what to write instead. Both are
// printable ASCII, whatever the tag contained.
type flaw struct{ why, instead string }

// draft is a Definition that is being read.
type draft struct {
	*Definition
	redirectStatus int
}

// Keys returns the grammar's keys in the order of its documentation.
func Keys() []Key {
	all := keys()
	list := make([]Key, len(all))
	for i, k := range all {
		list[i] = k.Key
	}
	return list
}

// keys is the whole grammar. It is a function so that nobody can change it.
func keys() []key {
	return []key{
		{Key{"host", "NAME,...", "names that the route answers to; `*.example.org` stands for exactly one label, `*` for any host", "required"}, parseHosts, []string{"hosts", "hostname", "domain", "domains", "rule", "server-name", "vhost"}},
		{Key{"path", "/PREFIX,...", "path prefixes, matched on whole segments: `/api` takes `/api` and `/api/x`, not `/apix`", "/"}, parsePrefixes, []string{"paths", "path-prefix", "prefix", "location", "route"}},
		{Key{"path-exact", "/PATH,...", "exact paths", "-"}, parseExact, []string{"exact"}},
		{Key{"method", "METHOD,...", "condition: the request's method is one of these", "-"}, parseMethods, []string{"methods"}},
		{Key{"header", "NAME: VALUE", "condition: the header has this value, or is there when only NAME is given; may be repeated", "-"}, parseHeader, []string{"headers"}},
		{Key{"query", "NAME=VALUE", "condition: the query parameter has this value, or is there when only NAME is given; may be repeated", "-"}, parseQuery, []string{"queries", "param"}},
		{Key{"priority", "NUMBER", "overrides specificity; higher first", "0"}, parsePriority, nil},
		{Key{"class", "NAME", "the ingress class that serves this route (`--class`)", "unset, which matches unset"}, parseClass, []string{"ingress-class"}},
		{Key{"strip", "/PREFIX", "prefix removed from the path sent upstream; X-Forwarded-Prefix tells it", "-"}, parseStrip, []string{"strip-prefix", "stripprefix", "rewrite"}},
		{Key{"redirect", "https or URL", "answers with a redirection: `https`, or a URL with `{host}`, `{path}`, `{query}`", "-"}, parseRedirect, []string{"redirect-to", "redirect-url"}},
		{Key{"redirect-status", "301, 302, 303, 307, 308", "status of the redirection", "308"}, parseRedirectStatus, []string{"redirect-code"}},
		{Key{"scheme", "http, https, h2c, grpc", "what is spoken to the instance", "http"}, parseScheme, []string{"protocol", "proto", "backend-protocol"}},
		{Key{"tls-verify", "true, false", "whether the instance's certificate is verified; with scheme https", "true"}, parseTLSVerify, []string{"insecure", "tls-skip-verify", "insecure-skip-verify"}},
		{Key{"tls-name", "NAME", "name verified and sent as SNI; with scheme https", "the request's host"}, parseTLSName, []string{"sni", "tls-server-name"}},
		{Key{"upstream-host", "preserve, address, NAME", "Host header sent to the instance", "preserve"}, parseUpstreamHost, []string{"host-header", "pass-host-header"}},
		{Key{"lb", "METHOD", "`least` (two random choices, fewer in flight, weighted by latency), `round-robin`, `random`, `hash:ip`, `hash:header:NAME`, `hash:cookie:NAME` (rendezvous)", "least"}, parseBalance, []string{"balance", "balancer", "algorithm", "load-balancer", "strategy"}},
		{Key{"weight", "0 to 1000", "share of this instance; 0 takes no new request", "100"}, parseWeight, nil},
		{Key{"sticky", "COOKIE", "cookie that names the instance, opaquely", "off"}, parseSticky, []string{"sticky-cookie", "affinity", "session"}},
		{Key{"prefer", "node, datacenter", "instances near this serai first, while they are fit and not overloaded", "off"}, parsePrefer, nil},
		{Key{"canary", "N%, header:NAME: VALUE, cookie:NAME=VALUE", "the part of the requests that this instance takes; for `canary_tags`", "-"}, parseCanary, nil},
		{Key{"check", "/PATH", "path probed actively", "TCP connect at start only"}, parseCheck, []string{"health", "health-check", "healthcheck", "check-path"}},
		{Key{"check-interval", "DURATION", "pause between two probes", "5s"}, parseCheckInterval, []string{"interval"}},
		{Key{"check-timeout", "DURATION", "bounds one probe", "2s"}, parseCheckTimeout, nil},
		{Key{"check-status", "N or N-N", "statuses of a good answer", "200-399"}, parseCheckStatus, nil},
		{Key{"wait", "DURATION", "how long requests wait when no instance is ready; 0s does not wait", "10s"}, parseWait, nil},
		{Key{"retries", "0 to 10", "further attempts, each on another instance, only where it is safe", "1"}, parseRetries, []string{"retry", "attempts"}},
		{Key{"retry-post", "on, off", "`on`: requests of this route may be repeated whatever their method, although the instance may have done what they ask", "off"}, parseRetryPost, []string{"retry-non-idempotent"}},
		{Key{"timeout", "DURATION", "time to the first byte of the response head", "60s"}, parseTimeout, []string{"response-timeout", "read-timeout"}},
		{Key{"body-idle", "DURATION", "time of each further wait for the response", "60s"}, parseBodyIdle, []string{"idle-timeout"}},
		{Key{"max-body", "SIZE", "largest request body; 413 beyond", "none"}, parseMaxBody, []string{"body-size", "max-body-size", "client-max-body-size"}},
		{Key{"tls", "auto, off, only", "`auto`: a certificate is obtained where ACME is on; `off`: never ask for one; `only`: plain HTTP is redirected", "auto"}, parseTLS, []string{"https", "ssl", "cert", "certresolver"}},
		{Key{"hsts", "VALUE", "Strict-Transport-Security value sent on https answers", "-"}, parseHSTS, []string{"strict-transport-security"}},
		{Key{"proxy-protocol", "v1, v2", "PROXY protocol spoken to the instance", "off"}, parseProxyProtocol, []string{"proxyprotocol", "send-proxy"}},
		{Key{"max-inflight", "NUMBER", "requests in flight on one instance; beyond it another instance, then queue up to `wait`, then 503", "none"}, parseMaxInflight, []string{"max-conn", "max-connections", "concurrency"}},
	}
}

// nearest returns the key that was probably meant by word, empty when none is
// near.
func (g *Grammar) nearest(word string) string {
	word = strings.ToLower(strings.ReplaceAll(word, "_", "-"))
	if len(word) > 32 {
		return ""
	}
	best, distance := "", 1+len(word)/3
	for i := range g.list {
		k := &g.list[i]
		for _, name := range append([]string{k.Name}, k.also...) {
			if d := levenshtein.Distance(word, name, nil); d < distance {
				best, distance = k.Name, d
			}
			if word == name {
				return k.Name
			}
		}
	}
	return best
}
