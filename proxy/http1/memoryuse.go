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
	writes   socket.Moment // when the client was last given something to take, zero when it has
}

// begin takes the request's memory.
func (m *memoryUse) begin(by *memory.Client) {
	m.taken, m.short = 0, false
	m.take(by, requestCost)
}

// stream takes the memory for a body that is sent on while it comes, and reports
// whether it was there. A small one of a known length, which would be waited for where
// there is a large buffer, counts as part of the request.
func (m *memoryUse) stream(by *memory.Client, small bool) bool {
	if small {
		return m.take(by, streamCost)
	}
	if !by.Take(memory.Streams, streamCost) {
		return false
	}
	m.streams.Store(true)
	return true
}

// take takes more of it, and reports whether it was there.
func (m *memoryUse) take(by *memory.Client, n int64) bool {
	if !by.Take(memory.Requests, n) {
		return false
	}
	m.taken += n
	return true
}

// end gives the request's memory back, and makes m ready for the next one. Few
// requests wait for their client: a load costs less than a store that all cores see.
func (m *memoryUse) end(by *memory.Client) {
	if !m.since.Time().IsZero() {
		m.waitEnds()
	}
	if m.ended.Load() {
		m.ended.Store(false)
	}
	if m.taken > 0 {
		by.Give(memory.Requests, m.taken)
	}
	if m.streams.Load() {
		m.streams.Store(false)
		by.Give(memory.Streams, streamCost)
	}
}

// waitBegins notes that the client is waited for, and returns for how long it may be
// at first: newcomers stop at seven eighths of the memory, and those who are waited
// for must not be what fills it up to there.
func (m *memoryUse) waitBegins(now time.Time, by *memory.Client) (atMost time.Duration) {
	if !m.since.Time().IsZero() {
		return noLimit
	}
	m.received.Store(0)
	m.since.Set(now)
	switch {
	case by.RunsOut(13):
		m.short = true
		return shortestWait
	case by.RunsOut(12):
		m.short = true
		return shortWait
	}
	return noLimit
}

// waited returns what the error of a read that waited for the client means.
func (m *memoryUse) waited(err error) error {
	if err != nil && m.short && errors.Is(err, os.ErrDeadlineExceeded) {
		m.ended.Store(true)
	}
	m.short = false
	if err != nil && m.ended.Load() {
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
func (m *memoryUse) waitEnds() { m.since.Clear() }

// While memory runs low, a client that keeps a request waiting for its own bytes has
// a second, and then as long as it sends so many bytes a second.
const (
	lowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// tooSlow reports whether the request is to end where memory runs low.
func (m *memoryUse) tooSlow(now time.Time) bool {
	since := m.since.Time()
	if since.IsZero() {
		return false
	}
	took := now.Sub(since)
	return took > lowMemoryTime && float64(m.received.Load()) < took.Seconds()*lowMemoryRate
}

// makeRoom has the connection give back what it holds, where others need it more. c.mu
// is held.
func (c *conn) makeRoom(now time.Time) {
	by, s := c.front.Memory, c.session
	if s == nil {
		if !c.drained && !c.ended && by.Recall(c.front.Cost()) {
			c.drain()
		}
		return
	}
	c.hurry(s, now)
	recall := by.RecallAll
	if since := s.memoryUse.writes.Time(); !since.IsZero() && now.Sub(since) > lowMemoryTime {
		recall = by.Recall // it waits for its client to take the answer
	}
	if !c.cut && recall(c.front.Cost()+requestCost+c.wire.Reserved()) {
		c.cutOff()
	}
}

// hurry ends the request under way when memory runs low and its client is slow. Who
// has a large buffer makes room when large buffers run low. c.mu is held.
func (c *conn) hurry(s *session, now time.Time) {
	held := memory.Requests
	switch {
	case c.wire.Reserved() > 0:
		held = memory.Buffers
	case s.memoryUse.streams.Load():
		held = memory.Streams
	}
	if c.front.Memory.RunsLow(held) && s.memoryUse.tooSlow(now) && s.memoryUse.ended.CompareAndSwap(false, true) {
		c.wire.InterruptReads()
	}
}
