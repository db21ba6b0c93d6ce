package http1

import "time"

// observedTimeout is after how long an instance closes idle connections, as was seen. It
// takes two closes at different times that agree: a restart closes connections
// of every age, and one that is closed by chance tells nothing.
type observedTimeout struct {
	after time.Duration // 0 when nothing is known
	seen  time.Time     // when that was seen last
	first closing       // what a second one is to agree with
}

const (
	// What is closed sooner is closed for another reason: the end of a worker,
	// a number of requests.
	soonestClose = 250 * time.Millisecond
	// Connections that are closed within so long are closed by one event.
	oneEvent = 100 * time.Millisecond
	// forgetAfter is how long an observed timeout is believed without another close that
	// confirms it.
	forgetAfter = 5 * time.Minute
)

func (l *observedTimeout) holds(now time.Time) bool {
	return l.after > 0 && now.Sub(l.seen) < forgetAfter
}

// refuted reports whether a connection that is open after so long shows that
// the observed timeout is wrong.
func (l *observedTimeout) refuted(age time.Duration) bool {
	return l.after > 0 && age > l.after+l.after/4
}

// learn takes the closes that were found together.
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

// agree reports whether two ages are those of one timeout.
func agree(a, b time.Duration) bool { return (a - b).Abs() <= max(150*time.Millisecond, b/8) }
