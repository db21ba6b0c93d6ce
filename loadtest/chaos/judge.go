package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// judgeRequests compares what clients saw with what instances did and what the
// program allows.
func (e *episode) judgeRequests() {
	l := e.ledger
	for _, c := range e.Clients {
		for _, q := range c.Requests {
			o := l.outcomes[q]
			if o == nil {
				l.find("the trial itself", q.Name, "it has no outcome")
				continue
			}
			e.judgeArrivals(o, l.arrivals[q])
			e.judgeAnswer(o, l.arrivals[q])
			e.judgeFailure(o)
			e.judgePolicies(o)
			e.judgeCORS(o)
			e.judgeHalfClose(o, l.arrivals[q])
			e.judgePace(o, l.arrivals[q])
		}
	}
}

// judgeArrivals counts how often a request came to instances.
func (e *episode) judgeArrivals(o *outcome, all []*arrival) {
	q, r := o.request, e.cluster.rules[o.request.Service.Name]
	said := func() string {
		var b strings.Builder
		for _, a := range all {
			fmt.Fprintf(&b, " %s after %d ms, read %d bytes;", a.instance.name, a.at.Sub(o.began).Milliseconds(), a.body.n)
		}
		return b.String()
	}
	switch {
	case len(all) > 1 && !q.idempotent() && !r.retryPost:
		e.ledger.find("at most once", q.Name, "%s reached instances %d times:%s", q.Method, len(all), said())
	case len(all) > 1+r.retries:
		e.ledger.find("retries", q.Name, "%s reached instances %d times, retries=%d:%s", q.Method, len(all), r.retries, said())
	}
	if !o.sent {
		for _, a := range all {
			if a.whole && !q.Upgrade && q.Framing != None {
				e.ledger.find("a cut request looks whole", q.Name, "its client left before its end; %s read a clean end behind %d bytes", a.instance.name, a.body.n)
			}
		}
	}
}

// judgeAnswer checks the answer: whose it is, and whether it is complete.
func (e *episode) judgeAnswer(o *outcome, all []*arrival) {
	q := o.request
	find := func(oracle, format string, args ...any) { e.ledger.find(oracle, q.Name, format, args...) }
	if o.end == endMalformed && q.Malformed == "" {
		find("malformed to a client", "%s", o.detail)
	}
	if o.status == 0 || o.reason != "" {
		if o.reason != "" && o.status < 300 {
			find("no answer of another", "%d with reason %s", o.status, o.reason)
		}
		return
	}
	if o.id != fmt.Sprintf("%x", q.ID) {
		find("no answer of another", "%d for request %q of %q", o.status, o.id, o.instance)
		return
	}
	if o.body.wrong != "" {
		find("every byte is the instance's", "%d: %s", o.status, o.body.wrong)
	}
	killed := slices.ContainsFunc(e.Faults, func(f *Fault) bool { return f.Kind == KillAndStart })
	if !o.whole || killed && q.Minor == 0 { // the kernel closes the connections of who was killed as if all were said
		return
	}
	n := o.body.n
	if bodyless(q.Method, o.status) && !q.Upgrade {
		n = 0
	}
	fits := slices.ContainsFunc(q.Answers, func(a Answer) bool { return a.Status == o.status && a.gives(q) == n })
	if !fits {
		find("no cut answer looks whole", "%d with %d bytes and a clean end; planned: %v", o.status, n, q.Answers)
	}
	if len(all) == 0 {
		find("no answer of another", "%d, though no instance was asked", o.status)
	}
}

// gives is how many bytes of body a complete answer has, -1 if it is never complete.
func (a *Answer) gives(q *Request) int64 {
	switch a.Flaw {
	case BadChunk:
		if bodyless(q.Method, a.Status) {
			return 0
		}
		return -1
	case BadHead:
		// Framing fields cannot mislead where there is no body.
		if a.badFraming() && bodyless(q.Method, a.Status) {
			return 0
		}
		return -1
	case ResetRead, ResetUnread, FinRead:
		return -1
	case ResetAt, FinAt, StallAt:
		if a.At < len(a.bytes(q, "s0-i0"))-1 && (a.At < len(a.bytes(q, "s00-i00")) || a.Framing == Close) && !bodyless(q.Method, a.Status) {
			return -1
		}
	}
	switch {
	case q.Upgrade && a.Status != 101:
		return 10
	case bodyless(q.Method, a.Status) && a.Status != 101:
		return 0
	}
	return int64(a.Size)
}

// judgeFailure compares a failure with those that the program allows.
func (e *episode) judgeFailure(o *outcome) {
	q := o.request
	failed := o.reason
	if failed == "" {
		failed = o.end
	}
	if o.end == endTimeout {
		e.ledger.find("every request ends", q.Name, "no whole answer within %v: status %d %s, %d bytes", connTimeout, o.status, o.reason, o.body.n)
		return
	}
	if failed == "" || failed == endGone || q.Service.Flavour == Self || e.lax() || o.client.leaves() {
		return
	}
	if o.end == endLost {
		return // because of the one before it, which is judged
	}
	if q.Malformed != "" {
		if o.reason == "" && o.status != 0 || o.status > 0 && o.status < 400 {
			e.ledger.find("only allowed failures", q.Name, "%d %s to a head with %q", o.status, failed, q.Malformed)
		}
		return
	}
	allowed := e.allowed(o)
	if e.endedSlowly(o) {
		return
	}
	if b := o.before; b != nil && o.status == 0 && !slices.Contains(allowed, failed) {
		e.ledger.find("an answer says that the connection ends", q.Name, "%s behind %s, whose answer of %d %s did not say so", failed, b.request.Name, b.status, b.reason)
		return
	}
	if !slices.Contains(allowed, failed) {
		e.ledger.find("only allowed failures", q.Name, "%d %s (%s), allowed are %v", o.status, failed, strings.TrimSpace(o.detail+" "+o.instance), allowed)
	}
}

// lax reports whether any request of the episode may fail.
func (e *episode) lax() bool {
	if e.Files > 0 || e.died {
		return true
	}
	for _, flag := range e.Flags {
		if strings.HasPrefix(flag, "--max-connections=") {
			return true
		}
	}
	for _, f := range e.Faults {
		if f.Kind == Restart || f.Kind == KillAndStart {
			return true
		}
	}
	return false
}

// allowed lists the reasons and ends that a request may meet. On a machine that keeps the trial
// waiting each of them may come too late with its head.
func (e *episode) allowed(o *outcome) []string {
	list := e.answers(o)
	if e.ledger.kept() > 250*time.Millisecond {
		list = append(list, "head-timeout", "body-timeout", endClosed)
	}
	return list
}

// answers lists what allowed does on a machine that runs in time.
func (e *episode) answers(o *outcome) []string {
	q, s := o.request, o.request.Service
	r := e.cluster.rules[s.Name]
	if miss := r.miss(q, o.client); miss != "" {
		if r.refused && miss == "no-host" {
			return []string{miss, r.closed(q, o.client)} // with a guard, the route is closed
		}
		return r.guarded(miss)
	}
	list := r.guarded("")
	if r.maxBody > 0 && int64(q.Size) > r.maxBody && q.Framing != None {
		// A body in chunks may be found too large when its answer has begun.
		list = append(list, "body-too-large", endCut, endReset)
	}
	asked := []string{"upstream-closed", "upstream-cut", "upstream-lost", "connect-failed", "tls-failed"}
	// Who may not be repeated may fail where connections end.
	fragile := !q.idempotent() && !r.retryPost || r.retries == 0 || q.Size > 4<<10 || q.Upgrade
	// On a machine that keeps the trial waiting an instance closes a connection that is new.
	if s.IdleClose > 0 && (fragile || e.ledger.kept() > s.IdleClose) {
		list = append(list, asked...)
	}
	if e.tooSlow(o) {
		list = append(list, "body-slow")
	}
	if q.Framing == Chunked && e.late(o) {
		list = append(list, "body-timeout") // the frame of a chunk came more slowly than --body-idle allows
	}
	saturated := s.Flavour == Queue || s.Flavour == Flood || r.maxInflight > 0
	if saturated {
		list = append(list, "no-instance", "queue-full")
	}
	shaken := slices.ContainsFunc(e.Faults, func(f *Fault) bool {
		return f.Service == nil && f.Kind != ConfigBroken && f.Kind != ConfigAgain
	})
	switch s.Flavour {
	case Deployed:
		// Each replacement may cost a request one attempt.
		if fragile || shaken || e.faults(s, Replace) > r.retries {
			list = append(list, asked...)
			list = append(list, endCut, endReset) // which of them a client sees is a matter of how far it has read
		}
		if shaken {
			// Who waits for a new instance that nobody has heard of may be too many.
			list = append(list, "no-instance", "queue-full", "no-host", "retry-budget")
		}
	case Shared:
		list = append(list, asked...) // some are planned
		if e.faults(s, Kill) > 0 {
			list = append(list, endCut, endReset)
		}
	case Wrong, Hurt:
		list = append(list, asked...)
		list = append(list, "bad-answer", "no-instance", "queue-full", "upstream-timeout", "retry-budget", endCut, endReset, endClosed)
	}
	for _, flag := range e.Flags {
		if strings.HasPrefix(flag, "--eject-share") {
			list = append(list, "no-instance")
		}
	}
	return list
}

// faults counts the faults of a kind that a service has.
func (e *episode) faults(s *Service, kind FaultKind) (n int) {
	for _, f := range e.Faults {
		if f.Service == s && f.Kind == kind {
			n++
		}
	}
	return n
}

// judgeCounters compares the counters of each service with what its clients
// saw.
func (e *episode) judgeCounters(m map[string]float64) {
	for _, s := range e.Services {
		r := e.cluster.rules[s.Name]
		if s.Flavour == Self || r.refused { // a closed route counts what it refuses
			continue
		}
		least, most := 0.0, 0.0
		classes := make(map[string]float64)
		for q, o := range e.ledger.outcomes {
			miss := r.miss(q, o.client)
			if q.Service != s || q.Malformed != "" || miss != "" && miss != "redirect" && !isGuard(miss) {
				continue
			}
			if o.headSent {
				most++
			}
			// What the engine refuses by itself is no route's.
			if o.whole && (o.reason == "" || o.status >= 500 || miss == "redirect" || isGuard(o.reason)) {
				least++
				classes[fmt.Sprintf("%dxx", o.status/100)]++
			}
		}
		label := fmt.Sprintf("service=%q", s.Name)
		if n := sum(m, "serai_requests_total", label); n < least || n > most {
			e.ledger.find("counters add up", s.Name, "serai_requests_total is %v; %v were answered and %v sent", n, least, most)
		}
		for class, n := range classes {
			if class == "1xx" {
				continue
			}
			if counted := sum(m, "serai_requests_total", label, fmt.Sprintf("class=%q", class)); counted < n {
				e.ledger.find("counters add up", s.Name, "serai_requests_total of %s is %v; clients saw %v", class, counted, n)
			}
		}
	}
}
