package memory

import "serai/internal/quota"

// Spare bounds what all clients together take for one thing that they can do without. It
// is memory of a Budget, where there is one, and has a limit of its own besides. A
// client may have of it as much as is left then: alone it gets half of it, and with two others
// a quarter. So something is left for one who has nothing, unless very many want it.
//
// All methods may be called at the same time.
type Spare struct {
	part  Part
	limit int64
	taken quota.Quota
}

// NewSpare makes a Spare of so many bytes, which count as a part of Budgets.
func NewSpare(p Part, limit int64) *Spare { return &Spare{part: p, limit: limit} }

// Limit returns how many bytes there are, Taken how many of them are taken.
func (s *Spare) Limit() int64 { return s.limit }
func (s *Spare) Taken() int64 { return s.taken.Taken() }

// Take takes n bytes for c, which may be nil, where all have no more than limit then, and
// reports whether they are there. They are given back once, with Give.
func (s *Spare) Take(c *Client, n, limit int64) bool {
	if c == nil {
		return s.taken.Take(n, limit)
	}
	if !s.taken.Take(n, limit-c.spare.Add(n)) {
		c.spare.Add(-n)
		return false
	}
	if !c.takeSpare(s.part, n) {
		c.spare.Add(-n)
		s.taken.Give(n)
		return false
	}
	return true
}

// Give gives n bytes of c back.
func (s *Spare) Give(c *Client, n int64) {
	s.taken.Give(n)
	if c == nil {
		return
	}
	c.spare.Add(-n)
	if c.bounded() {
		c.budget.taken[s.part].Add(-n)
		c.budget.all.Give(n)
	}
}

// takeSpare takes n bytes of the Budget. They do not count as what c holds: who is sent
// compressed answers is not to lose connections for it, and nobody makes room for it.
func (c *Client) takeSpare(p Part, n int64) bool {
	if !c.bounded() {
		return true
	}
	b := c.budget
	if !b.all.Take(n, b.levels[p]) {
		b.refused[p].Add(1)
		return false
	}
	b.taken[p].Add(n)
	return true
}
