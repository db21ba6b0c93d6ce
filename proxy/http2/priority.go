package http2

import (
	"bytes"

	"serai/wire"
)

// priority decides when a stream may send DATA, among the streams of its connection
// (RFC 9218).
type priority struct {
	urgency uint8
	// alone says that it is sent completely before streams of its urgency that came
	// later. Other streams take turns. They also do so by default: a stream may never
	// end, and gRPC clients know nothing of priorities.
	alone bool
	turn  uint64 // the lowest goes first; it grows with each frame of a stream that takes turns
}

const (
	leastUrgent    = 7
	defaultUrgency = 3
)

// before reports whether p may send before q.
func (p *priority) before(q *priority) bool {
	if p.urgency != q.urgency {
		return p.urgency < q.urgency
	}
	return p.turn < q.turn
}

// set sets p to a Priority Field Value (RFC 9218 section 4), such as "u=5, i". Missing
// parts have their default, and invalid ones are ignored.
func (p *priority) set(value []byte) {
	p.urgency, p.alone = defaultUrgency, true
	for member := range bytes.SplitSeq(value, []byte{','}) {
		member, _, _ = bytes.Cut(member, []byte{';'})
		switch m := string(bytes.Trim(member, " \t")); {
		case len(m) == 3 && m[:2] == "u=" && m[2] >= '0' && m[2] <= '0'+leastUrgent:
			p.urgency = m[2] - '0'
		case m == "i", m == "i=?1":
			p.alone = false
		case m == "i=?0":
			p.alone = true
		}
	}
}

// prioritize sets the stream's priority. A PRIORITY_UPDATE takes precedence over the
// head (RFC 9218 section 7). c.mu is held.
func (s *stream) prioritize() {
	c := s.conn
	s.priority = priority{urgency: defaultUrgency, turn: c.nextTurn()}
	if c.early != nil {
		for i := range c.early {
			if e := &c.early[i]; e.stream == s.id {
				s.urgency, s.alone = e.urgency, e.alone
				return
			}
		}
	}
	for i := range s.Head.Fields {
		if f := &s.Head.Fields[i]; f.Kind == wire.Other && string(f.Name) == "priority" {
			s.priority.set(f.Value)
			c.prioritized = true
		}
	}
}

func (c *conn) nextTurn() uint64 {
	c.turns++
	return c.turns
}

// earlyPriority is the priority of a stream that is not open yet.
type earlyPriority struct {
	stream uint32
	priority
}

// reprioritize handles PRIORITY_UPDATE. For streams that are not open yet, the last few
// are kept.
func (c *conn) reprioritize(id uint32, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prioritized = true
	if s := c.stream(id); s != nil {
		s.priority.set(value)
		c.room.Broadcast()
		return
	}
	if id <= c.lastID || id%2 == 0 {
		return
	}
	if c.early == nil {
		c.early = new([8]earlyPriority)
	}
	at := &c.early[c.nEarly%len(c.early)]
	for i := range c.early {
		if c.early[i].stream == id {
			at = &c.early[i]
			c.nEarly--
		}
	}
	at.stream = id
	at.priority.set(value)
	c.nEarly++
}

// yields reports whether another stream that can send goes before s. c.mu is held.
func (s *stream) yields() bool {
	c := s.conn
	if !c.prioritized || c.waiting == 0 {
		return false
	}
	for _, o := range c.streams {
		if o != s && o.waits && !o.gone && o.window > 0 && o.priority.before(&s.priority) {
			return true
		}
	}
	return false
}

// tookTurn records that s has sent a frame, or cannot send now. c.mu is held.
func (s *stream) tookTurn() {
	c := s.conn
	if !s.alone {
		s.turn = c.nextTurn()
	}
	if c.prioritized && c.waiting > 0 {
		c.room.Broadcast() // streams that waited for this one
	}
}
