package chaos

import (
	"slices"
	"strings"
)

const hstsField = "Strict-Transport-Security"

// ownHSTS is the field that some instances send themselves.
const ownHSTS = hstsField + ": max-age=1"

// routed are the reasons of serai's own answers to requests that a route has taken.
var routed = []string{"redirect", "connect-failed", "tls-failed", "upstream-closed", "upstream-lost", "bad-answer", "too-many-interim", "no-instance",
	"queue-full", "no-descriptor", "ip-denied", "rate-limited", "auth-required", "upstream-timeout", "body-slow", "body-timeout", "body-too-large"}

// judgePolicies checks what policies do to an answer of an instance or of serai: what a
// redirect says, and one Strict-Transport-Security over https.
func (e *episode) judgePolicies(o *outcome) {
	q := o.request
	r := e.cluster.rules[q.Service.Name]
	if o.status == 0 || o.headFields == nil || q.Malformed != "" || q.Service.Flavour == Self || o.end == endMalformed {
		return
	}
	miss := r.miss(q, o.client)
	if o.reason != "" && !slices.Contains(routed, o.reason) || miss != "" && miss != "redirect" && !isGuard(miss) {
		return
	}
	find := func(format string, args ...any) { e.ledger.find("policies", q.Name, format, args...) }
	switch location := o.headFields.get("Location"); {
	case o.reason != "redirect":
	case miss != "redirect":
		find("%d redirects to %q, which no tag asks for", o.status, location)
	case o.status != r.redirectStatus || location != r.location(q):
		find("%d redirects to %q, want %d and %q", o.status, location, r.redirectStatus, r.location(q))
	}
	if name, want := r.set(r.responseSet, q); name != "" && o.headFields.get(name) != want {
		find("%d %s says %s %q, want %q", o.status, o.reason, name, o.headFields.get(name), want)
	}
	// What an instance says itself stays where the route says nothing.
	var want []string
	switch {
	case o.client.TLS && r.hsts != "":
		want = []string{r.hsts}
	case o.reason != "" || r.responseRemove == hstsField:
	case slices.ContainsFunc(q.Answers, func(a Answer) bool { return a.HSTS }) && o.headFields.get(hstsField) != "":
		// Which of the answers this was need not be known.
		want = []string{strings.TrimPrefix(ownHSTS, hstsField+": ")}
	}
	var got []string
	for _, f := range o.headFields.fields {
		if strings.EqualFold(f[0], hstsField) {
			got = append(got, f[1])
		}
	}
	if !slices.Equal(got, want) {
		find("%d %s says %s %q, want %q", o.status, o.reason, hstsField, got, want)
	}
}
