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

// memoryUse is what a request takes of the memory that clients share, and for how long
// it has kept that memory while it waits for its client.
type memoryUse struct {
	taken    int64         // bytes of memory that it has, 0 when there were none
	since    socket.Moment // when its client was first waited for, zero when it is not
	received atomic.Int64  // bytes since then
	ended    atomic.Bool   // to make room for others
}

// begin takes the request's memory.
func (d *memoryUse) begin(b *memory.Budget) {
	d.taken = 0
	d.take(b, requestCost)
}

// take takes more of it, and reports whether it was there.
func (d *memoryUse) take(b *memory.Budget, n int64) bool {
	if !b.Take(memory.Requests, n) {
		return false
	}
	d.taken += n
	return true
}

// end gives the request's memory back, and resets it. Few
// requests wait for their client: a load costs less than a store that all cores see.
func (d *memoryUse) end(b *memory.Budget) {
	if !d.since.Time().IsZero() {
		d.waitEnds()
	}
	if d.ended.Load() {
		d.ended.Store(false)
	}
	if d.taken > 0 {
		b.Give(memory.Requests, d.taken)
	}
}

// waitBegins notes that the client is waited for.
func (d *memoryUse) waitBegins(now time.Time) {
	if d.since.Time().IsZero() {
		d.received.Store(0)
		d.since.Set(now)
	}
}

// waitEnds notes that the client is waited for no longer.
func (d *memoryUse) waitEnds() { d.since.Clear() }

// While memory runs low, a client that keeps a request waiting for its own bytes has a second,
// and then as long as it sends so many bytes a second.
const (
	lowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// tooSlow reports whether the request is to end where memory runs low.
func (d *memoryUse) tooSlow(now time.Time) bool {
	since := d.since.Time()
	if since.IsZero() {
		return false
	}
	took := now.Sub(since)
	return took > lowMemoryTime && float64(d.received.Load()) < took.Seconds()*lowMemoryRate
}

// makeRoom ends the request under way when memory runs low and its client slow. Who
// has a large buffer makes room when large buffers run low. c.mu is held.
func (c *conn) makeRoom(now time.Time) {
	s, held := c.session, memory.Requests
	if c.wire.Reserved() > 0 {
		held = memory.Buffers
	}
	if c.engine.options.Memory.RunsLow(held) && s.memoryUse.tooSlow(now) && s.memoryUse.ended.CompareAndSwap(false, true) {
		c.wire.InterruptReads()
	}
}
