// Package memory answers: how much of the memory may clients take?
//
// What each of them may take by itself has limits of its own. A Budget bounds
// their sum: whatever comes near its end, the newest and the largest are refused,
// and what is under way goes on.
package memory

import (
	"sync/atomic"

	"serai/internal/quota"
)

// Part is what memory is taken for. The parts have one pot, so that none lies
// idle; but each stops at a level of its own, below those that matter more.
type Part uint8

// The parts, with the level of the pot up to which each may take.
const (
	// Requests is for requests under way: stacks and small buffers. All of it.
	Requests Part = iota
	// Connections is for open connections, whatever they do. Seven eighths: who
	// is connected can still ask.
	Connections
	// Streams is for bodies that are sent on while they come, which may take for
	// ever. Five eighths: however many there are, others can still connect and ask.
	Streams
	// Buffers is for large heads and bodies. One half.
	Buffers
	parts
)

var partWords = [parts]string{"requests", "connections", "streams", "buffers"}

// String returns its word in /metrics.
func (p Part) String() string { return partWords[p] }

// Parts are all of them.
func Parts() []Part { return []Part{Requests, Connections, Streams, Buffers} }

// Budget counts what is taken of a number of bytes. A nil Budget has no end. All
// methods may be called at the same time.
type Budget struct {
	limit  int64
	levels [parts]int64
	all    quota.Quota
	// taken counts each part but Requests, which is the rest of all: requests are so
	// many that a second number for them would be felt.
	taken   [parts]atomic.Int64
	refused [parts]atomic.Uint64
}

// NewBudget makes a Budget of so many bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, levels: [parts]int64{Requests: limit, Connections: limit / 8 * 7, Streams: limit / 8 * 5, Buffers: limit / 2}}
}

// Take takes n bytes for a part, and reports whether they are there. They are given
// back once, with Give.
func (b *Budget) Take(p Part, n int64) bool {
	if b == nil {
		return true
	}
	if !b.all.Take(n, b.levels[p]) {
		b.refused[p].Add(1)
		return false
	}
	if p != Requests {
		b.taken[p].Add(n)
	}
	return true
}

// Give gives n bytes of a part back.
func (b *Budget) Give(p Part, n int64) {
	if b == nil {
		return
	}
	if p != Requests {
		b.taken[p].Add(-n)
	}
	b.all.Give(n)
}

// Left returns how many bytes a part can still take.
func (b *Budget) Left(p Part) int64 { return b.levels[p] - b.all.Taken() }

// RunsLow reports whether so much is taken that who holds memory of a part for
// nothing is to be ended: three quarters of what that part may come to.
func (b *Budget) RunsLow(p Part) bool { return b != nil && b.all.Taken() > b.levels[p]/4*3 }

// Beyond reports whether more than n sixteenths of the pot are taken.
func (b *Budget) Beyond(n int64) bool { return b != nil && b.all.Taken() > b.limit/16*n }

// Limit returns how many bytes there are.
func (b *Budget) Limit() int64 { return b.limit }

// Taken returns how many of them a part has, and how often it got none.
func (b *Budget) Taken(p Part) (n int64, refused uint64) {
	if n = b.taken[p].Load(); p == Requests {
		n = b.all.Taken()
		for i := range b.taken {
			n -= b.taken[i].Load()
		}
		n = max(n, 0) // others may have taken theirs meanwhile
	}
	return n, b.refused[p].Load()
}
