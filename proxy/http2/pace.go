package http2

import (
	"os"
	"time"

	"serai/proxy"
)

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// lookAgain is how often a client that is too slow, but may be, is looked at.
const lookAgain = time.Second

// wait waits until something has changed, or for long enough. C.mu is held.
func (s *stream) wait(began time.Time) error {
	o := &s.engine.options
	idle := o.BodyIdle
	if s.answered || s.isGRPC() {
		idle = o.StreamIdle // the two talk with each other
	}
	if s.late >= o.BodyIdle && s.hinders() {
		return errBodySlow
	}
	from, had := time.Now(), s.received
	if s.owes.IsZero() && !s.answered {
		s.owes, s.owed = from, s.received
	}
	by := idle - from.Sub(began)
	if o.MinRate > 0 && !s.answered {
		by = min(by, max(lookAgain, o.BodyIdle-s.late))
	}
	s.readBy = from.Add(by)
	s.readable.Wait()
	s.readBy = time.Time{}
	now := time.Now()
	if o.MinRate > 0 {
		earned := time.Duration(float64(s.received-had) / float64(o.MinRate) * float64(time.Second))
		s.late = max(0, s.late+now.Sub(from)-earned)
	}
	if s.received == had && !s.remoteEnd && now.Sub(began) >= idle {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// hinders reports whether a body that comes slowly is in anybody's way.
func (s *stream) hinders() bool {
	return !s.answered && (s.declared >= 0 || s.Wanted())
}

// While memory runs low, who keeps a request waiting for its own bytes has a second,
// and then as long as it sends so many bytes a second.
const (
	lowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// tooSlow reports whether the request is to end while memory runs low.
func (s *stream) tooSlow(now time.Time) bool {
	if s.owes.IsZero() {
		return false
	}
	took := now.Sub(s.owes)
	return took > lowMemoryTime && float64(s.received-s.owed) < took.Seconds()*lowMemoryRate
}

// wakeLate wakes who has waited for long enough. C.mu is held.
func (s *stream) wakeLate(now time.Time) {
	if !s.readBy.IsZero() && now.After(s.readBy) {
		s.readable.Broadcast()
	}
	if !s.writeBy.IsZero() && now.After(s.writeBy) {
		s.conn.room.Broadcast()
	}
}
