package http1

import "time"

// observedTimeout is the time after which an instance was seen to close idle
// connections. Two closes at different times must agree: a restart closes connections
// of every age, and a single close may have any cause.
type observedTimeout struct {
	after time.Duration // 0 when nothing is known
	seen  time.Time     // when it was last seen
	first closing       // a first close, with which a second one must agree
}

const (
	// A connection that is closed sooner is closed for another reason: the end of a
	// worker, a number of requests.
	soonestClose = 250 * time.Millisecond
	// Connections that are closed within this time are closed by one event.
	oneEvent = 100 * time.Millisecond
	// forgetAfter is how long an observed timeout is used without another close that
	// confirms it.
	forgetAfter = 5 * time.Minute
)

func (l *observedTimeout) holds(now time.Time) bool {
	return l.after > 0 && now.Sub(l.seen) < forgetAfter
}

// refuted reports whether a connection that is still open at this age shows that the
// observed timeout is wrong.
func (l *observedTimeout) refuted(age time.Duration) bool {
	return l.after > 0 && age > l.after+l.after/4
}

// learn learns from closes that were found together.
func (l *observedTimeout) learn(now time.Time, closed []closing) {
	for i, c := range closed {
		if c.age < soonestClose || ofOneEvent(closed, i) {
			continue
		}
		switch {
		case l.holds(now) && agree(c.age, l.after):
			l.after, l.seen = min(c.age, l.after), now
		case l.first.age > 0 && agree(c.age, l.first.age) && c.at.Sub(l.first.at).Abs() > oneEvent:
			l.after, l.seen = min(c.age, l.first.age), now
			l.first = closing{}
		default:
			l.first = c
		}
	}
}

// ofOneEvent reports whether another connection, of another age, was closed
// together with closed[i].
func ofOneEvent(closed []closing, i int) bool {
	for _, other := range closed {
		if other.at.Sub(closed[i].at).Abs() <= oneEvent && !agree(other.age, closed[i].age) {
			return true
		}
	}
	return false
}

// agree reports whether two ages can come from the same timeout.
func agree(a, b time.Duration) bool { return (a - b).Abs() <= max(150*time.Millisecond, b/8) }
