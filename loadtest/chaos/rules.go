package chaos

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rules are what a service's tags promise, as far as the trial judges it.
type rules struct {
	refused                         bool
	redirect, hsts, sticky, lb      string
	redirectStatus, weight          int
	hosts, prefixes, exact, methods []string
	headers, queries                []string
	strip, upstreamHost, tlsName    string
	rewrite, prepend, sameSite      string
	requestSet, requestRemove       string
	responseSet, responseRemove     string
	class                           string
	https, retryPost                bool
	proxy                           string
	maxBody                         int64
	maxInflight, retries            int
	wait, timeout, bodyIdle         time.Duration
	guards
}

// rulesOf reads the tags. The program says which ones are wrong, so it need not know
// the grammar.
func rulesOf(s *Service) rules {
	tlsOnly := false
	r := rules{redirectStatus: 308, weight: 100, lb: "least", wait: 10 * time.Second, timeout: time.Minute, bodyIdle: time.Minute, retries: 1}
	for _, t := range s.Tags {
		if t.Bad {
			r.refused = true
			continue
		}
		if t.Key == "tls" {
			tlsOnly = t.Value == "only"
		}
		r.readGuard(t)
		r.readMatch(t)
		r.readChange(t)
		r.readInstance(t)
	}
	if tlsOnly && r.redirect == "" {
		r.redirect = "https"
	}
	if len(r.prefixes)+len(r.exact) == 0 {
		r.prefixes = []string{"/"}
	}
	return r
}

// readMatch reads a tag that says which requests the route takes, or where it redirects them.
func (r *rules) readMatch(t *Tag) {
	switch list := strings.Split(t.Value, ","); t.Key {
	case "host":
		r.hosts = list
	case "path":
		r.prefixes = list
	case "path-exact":
		r.exact = list
	case "method":
		r.methods = list
	case "header":
		r.headers = append(r.headers, t.Value)
	case "query":
		r.queries = append(r.queries, t.Value)
	case "class":
		r.class = t.Value
	case "redirect":
		r.redirect = t.Value
	case "redirect-status":
		r.redirectStatus, _ = strconv.Atoi(t.Value)
	}
}

// readChange reads a tag that changes the request or the answer.
func (r *rules) readChange(t *Tag) {
	switch t.Key {
	case "strip":
		r.strip = t.Value
	case "rewrite":
		r.rewrite = t.Value
	case "prepend":
		r.prepend = t.Value
	case "upstream-host":
		r.upstreamHost = t.Value
	case "request-set":
		r.requestSet = t.Value
	case "request-remove":
		r.requestRemove = t.Value
	case "response-set":
		r.responseSet = t.Value
	case "response-remove":
		r.responseRemove = t.Value
	case "hsts":
		r.hsts = t.Value
	case "sticky":
		r.sticky = t.Value
	case "sticky-same-site":
		r.sameSite = t.Value
	}
}

// readInstance reads a tag about how instances are chosen and spoken to, or a limit.
func (r *rules) readInstance(t *Tag) {
	switch t.Key {
	case "lb":
		r.lb = t.Value
	case "weight":
		r.weight, _ = strconv.Atoi(t.Value)
	case "scheme":
		r.https = t.Value == "https"
	case "tls-name":
		r.tlsName = t.Value
	case "proxy-protocol":
		r.proxy = t.Value
	case "max-body":
		r.maxBody, _ = strconv.ParseInt(t.Value, 10, 64)
	case "max-inflight":
		r.maxInflight, _ = strconv.Atoi(t.Value)
	case "retries":
		r.retries, _ = strconv.Atoi(t.Value)
	case "wait":
		r.wait, _ = time.ParseDuration(t.Value)
	case "timeout":
		r.timeout, _ = time.ParseDuration(t.Value)
	case "body-idle":
		r.bodyIdle, _ = time.ParseDuration(t.Value)
	case "retry-post":
		r.retryPost = t.Value == "on"
	}
}

// miss is the reason for which no instance is to see a request, empty when one
// is.
func (r *rules) miss(q *Request, c *Client) string {
	secure := c != nil && c.TLS
	switch {
	case r.refused || r.class != "" || len(r.hosts) == 0:
		return "no-host"
	case !r.takesPath(q.Path):
		return "no-path"
	case len(r.methods) > 0 && !contains(r.methods, q.Method):
		return "no-condition"
	}
	for _, h := range r.headers {
		if !contains(q.Fields, h) {
			return "no-condition"
		}
	}
	for _, v := range r.queries {
		if !contains(strings.Split(q.Query, "&"), v) {
			return "no-condition"
		}
	}
	switch {
	case !r.letsIn(c.address(q)):
		return "ip-denied"
	case r.redirect == "https" && !secure:
		return "redirect"
	case r.auth && !slices.Contains(q.Fields, goodLogin):
		return "auth-required"
	case r.redirect != "" && r.redirect != "https":
		return "redirect"
	}
	return ""
}

// closed is the answer for a service that is refused and has a guard: its route stays,
// closed, for the requests that it would take.
func (r *rules) closed(q *Request, c *Client) string {
	taken := *r
	taken.refused = false
	switch miss := taken.miss(q, c); miss {
	case "no-path", "no-condition":
		return miss
	default:
		return "guard-refused"
	}
}

func (r *rules) takesPath(path string) bool {
	if contains(r.exact, path) {
		return true
	}
	for _, p := range r.prefixes {
		if p == "/" || path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// sent is the target that an instance sees.
func (r *rules) sent(q *Request) string {
	path := strings.TrimPrefix(q.Path, r.stripped(q))
	if path == "" {
		path = "/"
	}
	if pattern, replacement, ok := strings.Cut(r.rewrite, " "); ok {
		regex := regexp.MustCompile(pattern)
		if at := regex.FindStringSubmatchIndex(path); at != nil {
			path = path[:at[0]] + string(regex.ExpandString(nil, replacement, path, at)) + path[at[1]:]
		}
	}
	return r.prepend + path + strings.TrimPrefix(q.target(), q.Path)
}

// stripped is what was removed from the target that an instance sees.
func (r *rules) stripped(q *Request) string {
	if rest, ok := strings.CutPrefix(q.Path, r.strip); r.strip == "" || !ok || rest != "" && rest[0] != '/' {
		return ""
	}
	return r.strip
}

// set is the name and value of a field that a tag has set, both empty for none.
func (r *rules) set(tag string, q *Request) (name, value string) {
	name, value, _ = strings.Cut(tag, ":")
	return name, strings.NewReplacer("{{", "{", "{path}", q.Path).Replace(strings.TrimSpace(value))
}

// location is where a request is redirected to.
func (r *rules) location(q *Request) string {
	host, _ := hostname(q.Host)
	if r.redirect == "https" {
		return "https://" + host + q.target()
	}
	path, query := strings.NewReplacer("{path}", q.Path, "{host}", host), strings.NewReplacer("{query}", q.Query)
	return strings.TrimSuffix(query.Replace(path.Replace(r.redirect)), "?")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
