package chaos

import "time"

// inTime is how soon after its client's half-close an answer must begin so that it is
// sent completely (docs/http.md).
const inTime = 100 * time.Millisecond

// judgeHalfClose checks clients that closed their side after their last request: an
// answer that began in time is sent completely, and so is every one of known length
// that has begun. All others may be given up.
func (e *episode) judgeHalfClose(o *outcome, all []*arrival) {
	q, f := o.request, o.request.Service.Flavour
	if !o.client.HalfClose || o.client.Abort >= 0 || o.halfClosed.IsZero() || !o.sent || o.whole || o.end == endLost || o.reason != "" {
		return
	}
	// Only of what nothing else may have ended.
	if q.Upgrade || q.Malformed != "" || len(all) != 1 || f != Tame && f != Shared || e.lax() || all[0].began.IsZero() {
		return
	}
	plan := q.Answers[min(all[0].nth, len(q.Answers)-1)]
	since := o.halfClosed
	if b := o.before; b != nil && b.ended.After(since) {
		since = b.ended
	}
	took, margin := all[0].began.Sub(since), 2*e.ledger.kept()+20*time.Millisecond
	switch {
	case o.status != 0 && plan.Framing == Length:
		e.ledger.find("a half-closed client is answered", q.Name, "the answer of known length had begun, and ended after %d of %d bytes: %s", o.body.n, plan.Size, o.detail)
	case took < inTime-margin && len(plan.Interim) == 0:
		e.ledger.find("a half-closed client is answered", q.Name, "the instance answered %v after its client closed its side, and %d bytes came: %s", took.Round(time.Millisecond), o.body.n, o.end)
	}
}
