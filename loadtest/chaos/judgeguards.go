package chaos

import (
	"slices"
	"strings"
)

// judgeWho compares what an instance is told about the client with who it is.
func (i *instance) judgeWho(a *arrival, h *head) {
	q := a.request
	find := func(format string, args ...any) { i.ledger.find("who the client is", q.Name, format, args...) }
	c := i.ledger.clients[q]
	if want := c.address(q); c != nil && i.service.Flavour != Self && want != "" && h.get("X-Real-Ip") != want {
		find("%s is told %q, want %q", i.name, h.get("X-Real-Ip"), want)
	}
	if !i.rules.auth {
		return
	}
	if h.get("X-Forwarded-User") != chaosUser || h.get("Authorization") != "" {
		find("%s is told the user %q, and the login %q", i.name, h.get("X-Forwarded-User"), h.get("Authorization"))
	}
	for _, f := range h.fields {
		if strings.ReplaceAll(strings.ToLower(f[0]), "_", "-") == "x-forwarded-user" && f[1] != chaosUser {
			find("%s is told by the client: %s: %s", i.name, f[0], f[1])
		}
	}
}

// judgeCORS checks whether an answer says which origin may read it.
func (e *episode) judgeCORS(o *outcome) {
	q := o.request
	r := e.cluster.rules[q.Service.Name]
	miss := r.miss(q, o.client)
	if len(r.cors) == 0 || o.headFields == nil || o.status < 200 || q.Malformed != "" || o.end == endMalformed || miss != "" && miss != "redirect" && !isGuard(miss) ||
		o.reason != "" && !slices.Contains(routed, o.reason) {
		return
	}
	origin, want := "", ""
	for _, f := range q.Fields {
		if value, ok := strings.CutPrefix(f, "Origin: "); ok {
			origin = value
		}
	}
	label, below := strings.CutSuffix(origin, ".else.example")
	switch {
	case slices.Contains(r.cors, "*"):
		want = "*"
	case slices.Contains(r.cors, origin), below && slices.Contains(r.cors, "https://*.else.example") && !strings.Contains(strings.TrimPrefix(label, "https://"), "."):
		want = origin
	}
	if got := o.headFields.get("Access-Control-Allow-Origin"); got != want {
		e.ledger.find("cors", q.Name, "%d %s to the origin %q allows %q, want %q", o.status, o.reason, origin, got, want)
	}
}

// judgeRates counts the requests that rate limits have let through. Almost nothing is
// given back during an episode.
func (e *episode) judgeRates() {
	for _, s := range e.Services {
		r := e.cluster.rules[s.Name]
		if r.rate == 0 || e.restarted || e.died || r.refused || s.Flavour == Self {
			continue
		}
		came, asked, limited := make(map[string]int), make(map[string]int), make(map[string]int)
		for q, o := range e.ledger.outcomes {
			if q.Service != s {
				continue
			}
			client := o.client.address(q)
			if asked[client]++; o.reason == "rate-limited" {
				limited[client]++
			}
			if len(e.ledger.arrivals[q]) > 0 {
				came[client]++
			}
		}
		for client, n := range came {
			if n > r.rate+1 {
				e.ledger.find("rates", s.Name, "%d requests of %q came to instances, allowed are %d", n, client, r.rate)
			}
		}
		for client, n := range limited {
			if asked[client] <= r.rate {
				e.ledger.find("rates", s.Name, "%d of %d requests of %q were limited, allowed are %d", n, asked[client], client, r.rate)
			}
		}
	}
}
