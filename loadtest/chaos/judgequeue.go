package chaos

import (
	"slices"
	"strings"
	"time"
)

// margins are the tolerances for times, because this machine does other things, too.
type margins struct {
	// overtaken is how much later a request must have been sent than one that
	// it overtakes.
	overtaken time.Duration
	// idled is how long an instance must have had room while a request waited.
	idled time.Duration
}

// tooLate is a delay of this process beyond which no times are judged.
const tooLate = 250 * time.Millisecond

// marginsFor a process that was kept from running for so long.
func marginsFor(late time.Duration) margins {
	return margins{overtaken: 150*time.Millisecond + 2*late, idled: 400*time.Millisecond + 2*late}
}

// judgeQueues checks services whose requests are judged by their order: none waits
// while there is room, and none is overtaken.
func (e *episode) judgeQueues() {
	if e.lax() || e.ledger.kept() > tooLate {
		return
	}
	for _, f := range e.Flags {
		if strings.HasPrefix(f, "--max-waiting=") {
			return // refused requests are in no order
		}
	}
	for _, s := range e.Services {
		if s.Flavour == Queue {
			e.judgeQueue(s)
		}
	}
}

// place is one request of a queue. came is zero when it never came to an
// instance; then left is when its client had its answer.
type place struct {
	request          *Request
	sent, came, left time.Time
	failed           string
}

func (e *episode) judgeQueue(s *Service) {
	r, margin := e.cluster.rules[s.Name], marginsFor(e.ledger.kept())
	var all []place
	for q, o := range e.ledger.outcomes {
		if q.Service != s || !o.sent {
			continue
		}
		p := place{request: q, sent: o.began, left: o.ended, failed: o.reason}
		if a := e.ledger.arrivals[q]; len(a) > 0 {
			p.came, p.left = a[0].at, a[0].ended
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b place) int { return a.sent.Compare(b.sent) })
	for i, early := range all {
		until := early.came
		if until.IsZero() {
			until = early.left
		}
		for _, late := range all[i+1:] {
			if late.sent.Sub(early.sent) > margin.overtaken && !late.came.IsZero() && until.Sub(late.came) > margin.overtaken/3 {
				e.ledger.find("in order", early.request.Name, "sent %v before %s, which came to an instance %v before it%s",
					late.sent.Sub(early.sent).Round(time.Millisecond), late.request.Name, until.Sub(late.came).Round(time.Millisecond), orNever(early))
				break
			}
		}
		if gap := longestRoom(all, early.sent, until, r.maxInflight*len(s.Own)); gap > margin.idled {
			e.ledger.find("nobody waits while there is room", early.request.Name, "it waited %v, for %v of it the instances had room%s",
				until.Sub(early.sent).Round(time.Millisecond), gap.Round(time.Millisecond), orNever(early))
		}
	}
}

func orNever(p place) string {
	if p.came.IsZero() {
		return "; it never came to one: " + p.failed
	}
	return ""
}

// longestRoom is the longest time between two moments during which fewer
// requests than places were with instances.
func longestRoom(all []place, from, until time.Time, places int) (longest time.Duration) {
	type change struct {
		at   time.Time
		more int
	}
	var changes []change
	for _, p := range all {
		if !p.came.IsZero() {
			changes = append(changes, change{p.came, 1}, change{p.left, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	busy, since := 0, from
	note := func(at time.Time) {
		if at.After(until) {
			at = until
		}
		if busy < places {
			longest = max(longest, at.Sub(since))
		}
	}
	for _, c := range changes {
		if c.at.After(from) {
			note(c.at)
			since = c.at
		}
		busy += c.more
	}
	note(until)
	return longest
}
