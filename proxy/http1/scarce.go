package http1

import (
	"sync/atomic"
	"time"

	"serai/internal/memory"
	"serai/wire/socket"
)

// What a request takes of the memory, in bytes, beside large buffers: its stack, a
// session and small buffers; and as much again where another goroutine streams
// its body.
const (
	requestCost = 30 << 10
	streamCost  = 30 << 10
)

// debt is what a request keeps memory for without doing anything: its client is
// waited for.
type debt struct {
	taken    int64         // bytes of memory that it has, 0 when there were none
	since    socket.Moment // when its client was first waited for, zero when it is not
	received atomic.Int64  // bytes since then
	ended    atomic.Bool   // for the sake of others
}

// begin takes the request's memory.
func (d *debt) begin(b *memory.Budget) {
	d.taken = 0
	d.take(b, requestCost)
}

// take takes more of it, and reports whether it was there.
func (d *debt) take(b *memory.Budget, n int64) bool {
	if !b.Take(memory.Requests, n) {
		return false
	}
	d.taken += n
	return true
}

// end gives the request's memory back, and leaves the debt as a new one. Few requests
// have been waited for: a load costs less than a store that all cores see.
func (d *debt) end(b *memory.Budget) {
	if !d.since.Time().IsZero() {
		d.settle()
	}
	if d.ended.Load() {
		d.ended.Store(false)
	}
	if d.taken > 0 {
		b.Give(memory.Requests, d.taken)
	}
}

// owe notes that the client is waited for.
func (d *debt) owe(now time.Time) {
	if d.since.Time().IsZero() {
		d.received.Store(0)
		d.since.Set(now)
	}
}

// settle notes that it is not any more.
func (d *debt) settle() { d.since.Clear() }

// While memory is scarce, who keeps a request waiting for its own bytes has a second,
// and then as long as it sends so many bytes a second.
const (
	scarceTime = time.Second
	scarceRate = 16 << 10
)

// due reports whether the request is to end while memory is scarce.
func (d *debt) due(now time.Time) bool {
	since := d.since.Time()
	if since.IsZero() {
		return false
	}
	took := now.Sub(since)
	return took > scarceTime && float64(d.received.Load()) < took.Seconds()*scarceRate
}

// makeRoom ends the request under way when memory is scarce and its client slow. Who
// has a large buffer makes room when these are scarce. c.mu is held.
func (c *conn) makeRoom(now time.Time) {
	s, held := c.session, memory.Requests
	if c.wire.Reserved() > 0 {
		held = memory.Buffers
	}
	if c.engine.options.Memory.Scarce(held) && s.debt.due(now) && s.debt.ended.CompareAndSwap(false, true) {
		c.wire.InterruptReads()
	}
}
