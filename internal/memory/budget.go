// Package memory answers: how much of the memory may clients take?
//
// What each of them may take by itself has limits of its own. A Budget bounds
// their sum: whatever comes near its end, the newest and the largest are refused,
// and what is under way goes on. A Client who has less than its share of it gets what
// it asks for, whatever the others do.
package memory

import (
	"sync/atomic"

	"serai/internal/quota"
)

// Part is what memory is taken for. The parts share one limit, so that no memory lies
// idle; but each stops at a level of its own, below those that matter more. A Client
// within its share goes beyond them.
type Part uint8

// The parts, with the share of the limit up to which each may take.
const (
	// Requests is for requests under way: stacks and small buffers. Fourteen
	// sixteenths: the rest is for clients who have little, or have not come yet.
	Requests Part = iota
	// Connections is for open connections, whatever they do. Thirteen sixteenths:
	// who is connected can still ask.
	Connections
	// Streams is for bodies that are sent on while they come, which may take for
	// ever. Ten sixteenths: however many there are, others can still connect and ask.
	Streams
	// Buffers is for large heads and bodies. Eight sixteenths.
	Buffers
	// Encoders is for what compresses answers, which is a Spare: nobody takes it beyond eleven
	// sixteenths, below where clients begin to make room for each other.
	Encoders
	parts
)

var partWords = [parts]string{"requests", "connections", "streams", "buffers", "encoders"}

// String returns its word in /metrics.
func (p Part) String() string { return partWords[p] }

// Parts are all of them.
func Parts() []Part { return []Part{Requests, Connections, Streams, Buffers, Encoders} }

// Budget counts what clients take of a number of bytes. All methods may be called
// at the same time.
type Budget struct {
	levels [parts]int64
	all    *quota.Fair
	// taken counts each part but Requests, which is the rest of all: requests are so
	// many that a second number for them would be felt.
	taken   [parts]atomic.Int64
	refused [parts]atomic.Uint64

	scarce   chan struct{} // has one when room is to be made soon
	wanted   atomic.Int64  // bytes that are to be left for one who was refused within its share
	asked    atomic.Int64  // bytes that were recalled since Settle
	recalled atomic.Uint64
}

// NewBudget makes a Budget of so many bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{all: quota.NewFair(limit), scarce: make(chan struct{}, 1),
		levels: [parts]int64{Requests: limit / 16 * 14, Connections: limit / 16 * 13, Streams: limit / 16 * 10, Buffers: limit / 16 * 8, Encoders: limit / 16 * 11}}
}

// Limit returns how many bytes there are.
func (b *Budget) Limit() int64 { return b.all.Size() }

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

// Share returns how many bytes a client has without question, and how many clients
// there are.
func (b *Budget) Share() (bytes int64, clients int) { return b.all.Share(), b.all.Holders() }

// Recalled returns how often Recall has asked for something.
func (b *Budget) Recalled() uint64 { return b.recalled.Load() }

// Scarce tells one of those who wait for it that room is to be made soon.
func (b *Budget) Scarce() <-chan struct{} {
	if b == nil {
		return nil
	}
	return b.scarce
}

// Tight reports whether so much is taken that somebody may have to make room.
func (b *Budget) Tight() bool { return b != nil && b.all.Taken() > b.all.Size()/16*12 }

// Settle finds the shares anew. It is called a few times a second.
func (b *Budget) Settle() {
	if b != nil {
		b.all.Settle()
		b.asked.Store(0) // it has been given back, or will not be
		b.wanted.Store(0)
	}
}

// Client is who takes of a Budget, with what all of its connections hold. One of no
// Budget has no end, nor has a nil one.
type Client struct {
	budget *Budget
	holder quota.Holder
	spare  atomic.Int64 // bytes that it has of Spares
}

// Join makes c one of b's clients, if b is not nil, until Leave.
func (c *Client) Join(b *Budget) {
	if c.budget = b; b != nil {
		c.holder.Join(b.all)
	}
}

// Leave is called when c holds nothing any more.
func (c *Client) Leave() {
	if c.budget != nil {
		c.holder.Leave()
	}
}

// bounded reports whether there is an end.
func (c *Client) bounded() bool { return c != nil && c.budget != nil }

// Take takes n bytes for a part, and reports whether they are there. They are given
// back once, with Give.
func (c *Client) Take(p Part, n int64) bool {
	if !c.bounded() {
		return true
	}
	b := c.budget
	if !c.holder.Take(n, b.levels[p]) {
		b.refused[p].Add(1)
		if has := c.holder.Taken() + n; has <= b.all.Share() && has > b.wanted.Load() {
			b.wanted.Store(has)
			b.tell()
		}
		return false
	}
	if p != Requests {
		b.taken[p].Add(n)
	}
	if b.all.Taken() > b.all.Size()/16*15 {
		b.tell()
	}
	return true
}

// tell tells who waits for Scarce.
func (b *Budget) tell() {
	select {
	case b.scarce <- struct{}{}:
	default:
	}
}

// Give gives n bytes of a part back.
func (c *Client) Give(p Part, n int64) {
	if !c.bounded() {
		return
	}
	if p != Requests {
		c.budget.taken[p].Add(-n)
	}
	c.holder.Give(n)
}

// RunsLow reports whether so much is taken that c, if it holds memory of a part for
// nothing, is to give it back: three quarters of what that part may come to, and of
// its share.
func (c *Client) RunsLow(p Part) bool {
	return c.bounded() && c.budget.all.Taken() > c.budget.levels[p]/4*3 && c.holder.Beyond(12)
}

// Recall reports whether n bytes that c holds for nothing much are to be given back, since
// another has been refused within its share, or what was left for such is taken for the
// most part: more than fourteen sixteenths of the limit. What has been recalled already
// counts as given back, and only who holds more than its share is asked.
func (c *Client) Recall(n int64) bool {
	if !c.bounded() {
		return false
	}
	b := c.budget
	taken := b.all.Taken()
	return c.recall(n, max(taken-b.all.Size()/16*14, b.wanted.Load()-(b.all.Size()-taken)))
}

// RecallAll is Recall for what is of use: beyond fifteen sixteenths.
func (c *Client) RecallAll(n int64) bool {
	return c.bounded() && c.recall(n, c.budget.all.Taken()-c.budget.all.Size()/16*15)
}

func (c *Client) recall(n, over int64) bool {
	b := c.budget
	if over <= 0 || !c.holder.Beyond(16) {
		return false
	}
	if b.asked.Add(n)-n >= over {
		b.asked.Add(-n)
		return false
	}
	b.recalled.Add(1)
	return true
}

// RunsOut reports whether more than so many sixteenths of the limit are taken, and c holds
// more than its share.
func (c *Client) RunsOut(sixteenths int64) bool {
	return c.bounded() && c.budget.all.Taken() > c.budget.all.Size()/16*sixteenths && c.holder.Beyond(16)
}
