package http2

import (
	"bytes"

	"serai/wire"
)

// priority is where a stream stands among those of its connection that have DATA to be
// sent (RFC 9218).
type priority struct {
	urgency uint8
	// alone says that it is sent as a whole, before others of its urgency that came
	// later. Others take turns, also where the client has said nothing: streams may
	// have no end, and clients of gRPC know nothing of priorities.
	alone bool
	turn  uint64 // the lower goes first; of those that take turns it moves on with each frame
}

const (
	leastUrgent    = 7
	defaultUrgency = 3
)

// before reports whether DATA of p goes before that of q.
func (p *priority) before(q *priority) bool {
	if p.urgency != q.urgency {
		return p.urgency < q.urgency
	}
	return p.turn < q.turn
}

// set sets it to a Priority Field Value (RFC 9218 section 4): u=5, i. What it does not say
// is as by default, and what makes no sense is ignored.
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

// prioritize finds out about the stream's priority: what a PRIORITY_UPDATE has said goes
// before what the head says (RFC 9218 section 7). C.mu is held.
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

// earlyPriority is one of a stream that is not open yet.
type earlyPriority struct {
	stream uint32
	priority
}

// reprioritize takes PRIORITY_UPDATE. Of streams to be the last few are kept.
func (c *conn) reprioritize(id uint32, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prioritized = true
	if s := c.streams[id]; s != nil {
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

// yields reports whether another stream that could send goes before s. C.mu is held.
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

// tookTurn notes that a frame of s has been sent, or may not be for now. C.mu is held.
func (s *stream) tookTurn() {
	c := s.conn
	if !s.alone {
		s.turn = c.nextTurn()
	}
	if c.prioritized && c.waiting > 0 {
		c.room.Broadcast() // whoever has waited for this one
	}
}
