package http2

import (
	"os"
	"time"

	"serai/proxy"
)

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// lookAgain is how often a client that is too slow, but may be, is looked at.
const lookAgain = time.Second

// wait waits until something has changed, or for long enough since it began. While the
// connection's window is used up, by bodies that others of its requests have to take,
// the client cannot send, and it begins anew. C.mu is held.
func (s *stream) wait(began *time.Time) error {
	o := &s.engine.options
	idle := o.BodyIdle
	if s.converses() || s.grpc {
		idle = o.StreamIdle
	}
	if s.late >= o.BodyIdle && s.hinders() {
		return errBodySlow
	}
	from, had := time.Now(), s.received
	atMost := s.waitBegins(from)
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

// waitBegins notes that the client is waited for, and returns for how long it may be at
// first. C.mu is held.
func (s *stream) waitBegins(now time.Time) (atMost time.Duration) {
	if s.converses() {
		return proxy.NoLimit
	}
	atMost = s.memoryUse.WaitBegins(now, s.conn.front.Memory)
	if atMost != proxy.NoLimit {
		// Nobody looks as often as that: memory runs out, which is rare.
		time.AfterFunc(atMost, s.readable.Broadcast)
	}
	return atMost
}

// converses reports whether client and instance talk with each other, so that a pause
// is nobody's fault: see proxy/http1. C.mu is held.
func (s *stream) converses() bool { return s.answered && s.declared < 0 }

// hinders reports whether a body that comes slowly is in anybody's way.
func (s *stream) hinders() bool {
	return !s.answered && (s.declared >= 0 || s.Wanted())
}

// makeRoom ends the wait for a client that is slow while memory runs low. C.mu is held.
func (s *stream) makeRoom(now time.Time) {
	waits := !s.readBy.IsZero()
	if waits && s.memoryUse.MakeRoom(s.conn.front.Memory, s.buffer+s.spilled > 0, now) {
		s.bodyErr = errOverloaded
		s.readable.Broadcast()
	}
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
