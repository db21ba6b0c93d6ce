package consulsim

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// query has the parameters that all lists share.
type query struct {
	token      string
	datacenter string
	index      uint64
	wait       time.Duration
	stale      bool
	consistent bool
	near       string
	filter     string
	nodeMeta   map[string]string
	// streamed says that the agent follows what is asked for, and answers by itself: so it
	// is with health/service and health/connect, once a query gives an index.
	streamed bool
	// early says that refusals have the head of a list, too, with nothing in it.
	early bool
	// key stands for all that an answer depends on, but the state.
	key string
}

// maxWait is Consul's bound for a wait.
const maxWait = 10 * time.Minute

// parseQuery reads them, or answers 400 and returns false, also to those parameters that
// only the commercial agent has.
func (s *Sim) parseQuery(w http.ResponseWriter, r *http.Request, refused ...string) (query, bool) {
	if refuseEnterprise(w, r, refused...) {
		return query{}, false
	}
	p := r.URL.Query()
	q := query{
		token: secret(r), datacenter: p.Get("dc"), wait: s.options.MaxWait, filter: p.Get("filter"), near: p.Get("near"),
		stale: p.Has("stale") || p.Has("max_stale"), consistent: p.Has("consistent"), nodeMeta: nodeMeta(p),
	}
	if q.near == "_agent" {
		q.near = s.options.Node
	}
	bad := func(text string) (query, bool) {
		refuse(w, http.StatusBadRequest, "%s", text)
		return q, false
	}
	if v := p.Get("wait"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return bad("Invalid wait time")
		}
		if d > 0 {
			q.wait = min(d, maxWait)
		}
	}
	if v := p.Get("index"); v != "" {
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return bad("Invalid index")
		}
		q.index = i
	}
	if q.stale && q.consistent {
		return bad("Cannot specify ?stale with ?consistent, conflicting semantics.")
	}
	for _, other := range []string{"index", "wait", "stale", "consistent", "token", "pretty"} {
		p.Del(other)
	}
	q.key = r.URL.Path + "?" + p.Encode() + "\n" + q.token
	return q, true
}

// nodeMeta reads the pairs of node-meta=KEY:VALUE.
func nodeMeta(p url.Values) map[string]string {
	var pairs map[string]string
	for _, v := range p["node-meta"] {
		if pairs == nil {
			pairs = map[string]string{}
		}
		k, value, _ := strings.Cut(v, ":")
		pairs[k] = value
	}
	return pairs
}

func (q query) matchesNode(n *Node) bool {
	for k, v := range q.nodeMeta {
		if n.Meta[k] != v {
			return false
		}
	}
	return true
}
