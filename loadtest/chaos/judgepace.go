package chaos

import (
	"slices"
	"time"
)

// leastRate is serai's default, in bytes a second, and bodyIdle over how long it
// is an average.
const (
	leastRate = 100
	bodyIdle  = time.Second
)

// earned is the time that so many bytes of a body account for.
func earned(n int) time.Duration { return time.Duration(n) * time.Second / leastRate }

// small is how large a body of known length may be that instances get whole.
const small = 64 << 10

// judgePace checks bodies that come slowly: only clients that are too slow are refused,
// and an instance gets a small body only when it is complete.
func (e *episode) judgePace(o *outcome, all []*arrival) {
	q := o.request
	if q.Malformed != "" || q.Upgrade || e.cluster.rules[q.Service.Name].refused {
		return
	}
	if o.reason == "body-slow" && !e.tooSlow(o) {
		e.ledger.find("only slow clients are told so", q.Name, "408 body-slow, and serai waited for it at most %v beyond the least rate", o.late.Round(time.Millisecond))
	}
	if q.Framing != Length || q.Expect || q.Size == 0 {
		return
	}
	if q.Size <= small {
		for _, a := range all {
			early := !o.lastByte.IsZero() && a.at.Before(o.lastByte)
			left := !o.sent && o.client.Abort >= 0
			switch {
			case left:
				e.ledger.find("small bodies come whole", q.Name, "%s had its head, and its client left before it had sent all of %d bytes", a.instance.name, q.Size)
			case early:
				e.ledger.find("small bodies come whole", q.Name, "%s had its head %v before its client sent the last of %d bytes", a.instance.name, o.lastByte.Sub(a.at).Round(time.Millisecond), q.Size)
			}
		}
	}
	// A limit strikes at most a second late.
	late := bodyIdle + time.Second + 200*time.Millisecond + 2*e.ledger.kept()
	answered := slices.ContainsFunc(all, func(a *arrival) bool { return !a.began.IsZero() && a.began.Before(o.lastByte) })
	if o.late > late && o.status != 0 && o.reason == "" && !answered {
		e.ledger.find("slow bodies end", q.Name, "%d, though serai waited for its client %v beyond the least rate", o.status, o.late.Round(time.Millisecond))
	}
}

// tooSlow reports whether a client may have been slower than the minimum rate for too
// long. A body of unknown length may be that slow as long as nobody waits for its
// place.
func (e *episode) tooSlow(o *outcome) bool {
	q := o.request
	if q.Framing == Chunked && e.cluster.rules[q.Service.Name].maxInflight == 0 {
		return false
	}
	return q.Framing != None && e.late(o)
}

// endedSlowly reports whether a request has found its connection closed because the body
// of the one before it came too slowly, whose answer was there already and could not say so.
func (e *episode) endedSlowly(o *outcome) bool {
	b := o.before
	return b != nil && b.whole && o.status == 0 && (o.end == endClosed || o.end == endReset) &&
		b.request.Framing != None && e.late(b)
}

// late reports whether serai may have waited for a client for --body-idle beyond
// the least rate.
func (e *episode) late(o *outcome) bool {
	return o.late > bodyIdle-250*time.Millisecond-2*e.ledger.kept()
}
