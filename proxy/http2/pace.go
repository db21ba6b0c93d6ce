package http2

import (
	"os"
	"time"

	"serai/proxy"
)

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// lookAgain is the time between looks at a client that is too slow and may be.
const lookAgain = time.Second

// wait waits until something has changed, or until the wait that began then has taken
// too long. While other requests' bodies use up the connection's window, the client
// cannot send, and the wait begins anew. c.mu is held.
func (s *stream) wait(began *time.Time) error {
	o := &s.engine.options
	idle := o.BodyIdle
	if s.converses() || s.grpc {
		idle = o.StreamIdle
	}
	if s.late >= o.BodyIdle && s.rateApplies() {
		return errBodySlow
	}
	from, had := time.Now(), s.received
	atMost := s.beginWait(from)
	by := min(atMost, idle-from.Sub(*began))
	if o.MinRate > 0 && !s.answered {
		by = min(by, max(lookAgain, o.BodyIdle-s.late))
	}
	s.readBy = from.Add(by)
	s.readable.Wait()
	s.readBy = time.Time{}
	now := time.Now()
	if s.conn.windowUsed() && !s.remoteEnd {
		*began = now
		s.memoryUse.WaitEnds()
		return s.memoryUse.WaitError(nil)
	}
	if o.MinRate > 0 {
		earned := time.Duration(float64(s.received-had) / float64(o.MinRate) * float64(time.Second))
		s.late = max(0, s.late+now.Sub(from)-earned)
	}
	var err error
	if s.received == had && !s.remoteEnd && (now.Sub(*began) >= idle || now.Sub(from) >= atMost) {
		err = os.ErrDeadlineExceeded
	}
	return s.memoryUse.WaitError(err)
}

// beginWait records that a wait for the client begins, and returns how long the first
// wait may be. c.mu is held.
func (s *stream) beginWait(now time.Time) (atMost time.Duration) {
	if s.converses() {
		return proxy.NoLimit
	}
	atMost = s.memoryUse.WaitBegins(now, s.conn.front.Memory)
	if atMost != proxy.NoLimit {
		// Check does not run that often. It is rare that memory runs out.
		time.AfterFunc(atMost, s.readable.Broadcast)
	}
	return atMost
}

// converses reports whether client and instance exchange messages, so that a pause is
// normal: see proxy/http1. c.mu is held.
func (s *stream) converses() bool { return s.answered && s.declared < 0 }

// rateApplies reports whether the client must keep to the minimum rate: see
// proxy/http1.
func (s *stream) rateApplies() bool {
	return !s.answered && (s.declared >= 0 || s.Wanted())
}

// makeRoom ends the wait for a slow client when memory runs low. c.mu is held.
func (s *stream) makeRoom(now time.Time) {
	waits := !s.readBy.IsZero()
	if waits && s.memoryUse.MakeRoom(s.conn.front.Memory, s.buffer+s.spilled > 0, now) {
		s.bodyErr = errOverloaded
		s.readable.Broadcast()
	}
}

// wakeLate wakes goroutines whose deadline has passed. c.mu is held.
func (s *stream) wakeLate(now time.Time) {
	if !s.readBy.IsZero() && now.After(s.readBy) {
		s.readable.Broadcast()
	}
	if !s.writeBy.IsZero() && now.After(s.writeBy) {
		s.conn.room.Broadcast()
	}
}
