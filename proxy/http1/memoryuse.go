package http1

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"serai/internal/memory"
	"serai/wire"
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
	streams  atomic.Bool   // it has streamCost more, for a body that is sent on while it comes
	since    socket.Moment // when its client was first waited for, zero when it is not
	received atomic.Int64  // bytes since then
	short    bool          // the wait under way is a short one, since memory runs out
	ended    atomic.Bool   // to make room for others
}

// begin takes the request's memory.
func (d *memoryUse) begin(b *memory.Budget) {
	d.taken, d.short = 0, false
	d.take(b, requestCost)
}

// stream takes the memory for a body that is sent on while it comes, and reports
// whether it was there. A small one of a known length soon ends, and counts as part of
// the request.
func (d *memoryUse) stream(b *memory.Budget, small bool) bool {
	if small {
		return d.take(b, streamCost)
	}
	if !b.Take(memory.Streams, streamCost) {
		return false
	}
	d.streams.Store(true)
	return true
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
	if d.streams.Load() {
		d.streams.Store(false)
		b.Give(memory.Streams, streamCost)
	}
}

// waitBegins notes that the client is waited for, and returns for how long it may be
// at first: newcomers stop at seven eighths of the memory, and those who are waited
// for must not be what fills it up to there.
func (d *memoryUse) waitBegins(now time.Time, b *memory.Budget) (atMost time.Duration) {
	if !d.since.Time().IsZero() {
		return noLimit
	}
	d.received.Store(0)
	d.since.Set(now)
	switch {
	case b.Beyond(14):
		d.short = true
		return shortestWait
	case b.Beyond(13):
		d.short = true
		return shortWait
	}
	return noLimit
}

// waited returns what the error of a read that waited for the client means.
func (d *memoryUse) waited(err error) error {
	if err != nil && d.short && errors.Is(err, os.ErrDeadlineExceeded) {
		d.ended.Store(true)
	}
	d.short = false
	if err != nil && d.ended.Load() {
		return wire.ErrOverloaded
	}
	return err
}

const (
	// noLimit is longer than any wait for a client.
	noLimit = 1 << 62
	// shortWait is for what has been sent, but has not come yet. shortestWait is for what
	// has come, but has not been read yet.
	shortWait    = 50 * time.Millisecond
	shortestWait = 5 * time.Millisecond
)

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
	switch {
	case c.wire.Reserved() > 0:
		held = memory.Buffers
	case s.memoryUse.streams.Load():
		held = memory.Streams
	}
	if c.engine.options.Memory.RunsLow(held) && s.memoryUse.tooSlow(now) && s.memoryUse.ended.CompareAndSwap(false, true) {
		c.wire.InterruptReads()
	}
}
