package admin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"serai/internal/history"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// Explanation says which route takes a request.
type Explanation struct {
	router.Explanation
	// Gone is the last decision that ended a route of the host, where no route takes it now, or of the host and path;
	// nil when none is remembered.
	Gone *history.Event `json:"gone,omitempty"`
}

// serveExplain says which route would take a request.
func (a *Admin) serveExplain(w http.ResponseWriter, r *http.Request) {
	q, ok := parameters(w, r, "host", "path", "method", "query", "header")
	if !ok {
		return
	}
	a.serve(w, r, func() (any, error) { return a.explanation(q) })
}

// explanation explains the request that a query describes. An error is about the query.
func (a *Admin) explanation(q url.Values) (x Explanation, err error) {
	host, path, query := q.Get("host"), cmp.Or(q.Get("path"), "/"), q.Get("query")
	if host == "" {
		return x, errors.New("host is missing; want ?host=NAME, and &path=/PATH, &method=GET, &query=a=1, &header=NAME:VALUE where they matter")
	}
	if name, rest, _ := strings.Cut(host, "://"); strings.Contains(host, "/") {
		if rest == "" {
			rest = name
		}
		name, rest, _ = strings.Cut(rest, "/")
		return x, fmt.Errorf("host %q is a URL or has a path; want ?host=%s&path=/%s", host, name, rest)
	}
	if path[0] != '/' {
		return x, fmt.Errorf("path %q does not start with a slash", path)
	}
	// A path may have been copied with its query.
	if p, rest, found := strings.Cut(path, "?"); found && query == "" {
		path, query = p, rest
	}
	headers, err := parseHeaders(q["header"])
	if err != nil {
		return x, err
	}
	method := cmp.Or(q.Get("method"), "GET")
	if refused := a.refusal(method, host, path, query); refused != nil {
		x.Explanation = router.Explanation{Host: label(host), Path: label(path), Result: refused.Code, Why: fmt.Sprintf("%d: %s", refused.Status, refused.Detail), Candidates: []router.Candidate{}}
		return x, nil
	}
	x.Explanation = a.options.Router.Current().Explain(&router.Query{
		Host: []byte(host), Method: []byte(method), Path: []byte(path), RawQuery: []byte(query), Attributes: headers,
	})
	switch x.Result {
	case router.NoHost.String():
		x.Gone = a.gone(x.Host, func(string) bool { return true })
	case router.NoPath.String():
		x.Gone = a.gone(x.Host, func(claimed string) bool {
			exact, isExact := strings.CutPrefix(claimed, "exactly ")
			return claimed == "" || x.Path == exact || !isExact && strings.HasPrefix(x.Path, claimed+"/")
		})
	}
	return x, nil
}

// gone returns the last event that ended a route of a host whose path is covered, nil when none is remembered.
func (a *Admin) gone(host string, covered func(path string) bool) *history.Event {
	type claim struct{ namespace, service, route, host, path string }
	there := make(map[claim]bool) // claimed again later
	for _, e := range a.newest(eventQuery{}) {
		c := claim{e.Namespace, e.Service, e.Route, e.Host, e.Details["path"]}
		switch {
		case e.Kind == history.RouteClaimed:
			there[c] = true
		case e.Kind == history.RouteWithdrawn && !there[c] && covered(c.path) && (c.host == host || c.host == "*" ||
			strings.HasPrefix(c.host, "*.") && strings.HasSuffix(host, c.host[1:])):
			return e
		}
	}
	return nil
}

// refusal says why a request with this method, host and target is refused before any route is looked for, nil if
// it is not.
func (a *Admin) refusal(method, host, path, query string) *wire.Error {
	target := path
	if query != "" {
		target += "?" + query
	}
	var h wire.RequestHead
	var refused *wire.Error
	switch _, err := h.ParseRequest([]byte(method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), a.options.Limits); {
	case errors.As(err, &refused):
		return refused
	case err != nil || string(h.Method) != method || string(h.Target) != target:
		return wire.ErrRequestLine // a line feed, for example
	case string(h.Host) != host:
		return wire.ErrHost
	}
	return nil
}

// headers are the header fields of the request in question.
type headers []struct{ name, value string }

var _ upstream.Attributes = headers(nil)

// parseHeaders reads NAME:VALUE.
func parseHeaders(list []string) (h headers, err error) {
	for _, s := range list {
		name, value, ok := strings.Cut(s, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("header %q is not NAME:VALUE", s)
		}
		h = append(h, struct{ name, value string }{name, strings.Trim(value, " \t")})
	}
	return h, nil
}

// Header returns the first value of a header field, nil when absent.
func (h headers) Header(name string) []byte {
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			return []byte(f.value)
		}
	}
	return nil
}

// Cookie and ClientIP are only used when an instance is chosen, which an explanation
// does not do.
func (headers) Cookie(string, int) []byte { return nil }

// ClientIP returns nothing: see Cookie.
func (headers) ClientIP() []byte { return nil }
