package http2

import (
	"time"

	"serai/wire/http2"
)

// send sends DATA as the windows, the room in out and other streams allow. c.mu is
// held, and released while it waits.
func (s *stream) send(p []byte, within time.Duration) error {
	c := s.conn
	var by time.Time
	for len(p) > 0 {
		if err := s.usable(); err != nil {
			return err
		}
		yields := s.yields()
		if !yields {
			if n := s.appendData(p); n > 0 {
				p = p[n:]
				continue
			}
		}
		if !c.flushing && len(c.out) > 0 {
			c.flush(false)
			continue
		}
		now := time.Now()
		if by.IsZero() || yields { // this wait is not the client's fault
			by = now.Add(within)
		}
		if now.After(by) || s.interrupted && s.tunnel {
			return s.stalled()
		}
		s.writeBy, s.waits = by, true
		c.waiting++
		c.room.Wait()
		c.waiting--
		s.writeBy, s.waits = time.Time{}, false
	}
	return nil
}

// appendData appends a frame with as much of p as may be sent now, and returns the
// number of bytes. c.mu is held.
func (s *stream) appendData(p []byte) int {
	c := s.conn
	n := int(min(int64(min(len(p), c.frame)), s.window, c.window))
	if n <= 0 {
		return 0
	}
	room := c.space() - http2.HeaderSize
	if room < n && cap(c.out) < outSize {
		c.enlarge()
		room = c.space() - http2.HeaderSize
	}
	if room < min(n, smallWindow) {
		return 0
	}
	n = min(n, room)
	s.last, s.lastOut = len(c.out)+4, c.outs
	c.out = append(http2.AppendHeader(c.out, n, http2.Data, 0, s.id), p[:n]...)
	s.window -= int64(n)
	c.window -= int64(n)
	c.updates = min(maxUpdates, c.updates+updatesOf(n))
	c.sent = true
	s.tookTurn()
	return n
}

// stalled ends a stream of which the client accepts nothing. c.mu is held.
func (s *stream) stalled() error {
	c := s.conn
	if s.interrupted && s.tunnel {
		return errGone
	}
	s.code = http2.EnhanceYourCalm
	if c.window > 0 || c.state >= ending {
		c.engine.ended[CauseStalled].Add(1)
		return errGone
	}
	c.tasks++
	go func() {
		defer c.endTask()
		c.fail(CauseSlow, http2.EnhanceYourCalm, "nothing is taken of what is sent")
		c.wire.InterruptReads()
	}()
	return errGone
}
