package proxy

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"serai/internal/memory"
	"serai/wire"
	"serai/wire/socket"
)

// What a request takes of the memory, in bytes, beside large buffers: its stack, what
// an engine keeps of it and small buffers; and as much again where another goroutine
// streams its body.
const (
	RequestCost = 30 << 10
	streamCost  = 30 << 10
)

// MemoryUse is what a request takes of the memory that clients share, and for how long
// it has kept that memory while it waits for its client. Engines have one for each
// request: the goroutine that carries it calls Begin, Stream and End, the one that waits
// for the client what has to do with waits, and any the rest.
type MemoryUse struct {
	taken    int64         // bytes of memory that it has, 0 when there were none
	streams  atomic.Bool   // it has streamCost more, for a body that is sent on while it comes
	since    socket.Moment // when its client was first waited for, zero when it is not
	received atomic.Int64  // bytes since then
	short    bool          // the wait under way is a short one, since memory runs out
	toEnd    atomic.Bool   // to make room for others
	writes   socket.Moment // when the client was last given something to take, zero when it has
}

// Begin takes the request's memory, and reports whether it was there.
func (m *MemoryUse) Begin(by *memory.Client) bool {
	m.taken, m.short = 0, false
	return m.take(by, RequestCost)
}

// Begun reports whether Begin has got it.
func (m *MemoryUse) Begun() bool { return m.taken > 0 }

// Stream takes the memory for a body that is sent on while it comes, and reports
// whether it was there. A small one of a known length, which would be waited for where
// there is a large buffer, counts as part of the request; but beyond twelve sixteenths
// of the memory, a client beyond its share gets none for it. To connect to an instance
// for such a body costs many times what a refusal does, and who sends hundreds of them
// at once keeps others waiting by that alone.
func (m *MemoryUse) Stream(by *memory.Client, small bool) bool {
	if small {
		return !by.RunsOut(12) && m.take(by, streamCost)
	}
	if !by.Take(memory.Streams, streamCost) {
		return false
	}
	m.streams.Store(true)
	return true
}

// take takes more of it, and reports whether it was there.
func (m *MemoryUse) take(by *memory.Client, n int64) bool {
	if !by.Take(memory.Requests, n) {
		return false
	}
	m.taken += n
	return true
}

// End gives the request's memory back, and makes m ready for the next one. Few
// requests wait for their client: a load costs less than a store that all cores see.
func (m *MemoryUse) End(by *memory.Client) {
	if !m.since.Time().IsZero() {
		m.WaitEnds()
	}
	if m.toEnd.Load() {
		m.toEnd.Store(false)
	}
	if m.taken > 0 {
		by.Give(memory.Requests, m.taken)
		m.taken = 0
	}
	if m.streams.Load() {
		m.streams.Store(false)
		by.Give(memory.Streams, streamCost)
	}
}

// WaitBegins notes that the client is waited for, and returns for how long it may be
// at first: new connections of those beyond their share stop at thirteen sixteenths of
// the memory, and requests that are waited for must not be what fills it up to there.
func (m *MemoryUse) WaitBegins(now time.Time, by *memory.Client) (atMost time.Duration) {
	if !m.since.Time().IsZero() {
		return NoLimit
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
	return NoLimit
}

// Came notes that so many bytes have come from the client.
func (m *MemoryUse) Came(n int) { m.received.Add(int64(n)) }

// Waited returns what the error of a read that waited for the client means.
func (m *MemoryUse) Waited(err error) error {
	if err != nil && m.short && errors.Is(err, os.ErrDeadlineExceeded) {
		m.toEnd.Store(true)
	}
	m.short = false
	if err != nil && m.toEnd.Load() {
		return wire.ErrOverloaded
	}
	return err
}

const (
	// NoLimit is longer than any wait for a client.
	NoLimit = 1 << 62
	// shortWait is for what has been sent, but has not come yet. shortestWait is for what
	// has come, but has not been read yet.
	shortWait    = 50 * time.Millisecond
	shortestWait = 5 * time.Millisecond
)

// WaitEnds notes that the client is waited for no longer.
func (m *MemoryUse) WaitEnds() { m.since.Clear() }

// While memory runs low, a client that keeps a request waiting for its own bytes has
// a second, and then as long as it sends so many bytes a second.
const (
	LowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// tooSlow reports whether the request is to end where memory runs low.
func (m *MemoryUse) tooSlow(now time.Time) bool {
	since := m.since.Time()
	if since.IsZero() {
		return false
	}
	took := now.Sub(since)
	return took > LowMemoryTime && float64(m.received.Load()) < took.Seconds()*lowMemoryRate
}

// WriteBegins notes that the client is given something to take, and WriteEnds that it has.
func (m *MemoryUse) WriteBegins(now time.Time) { m.writes.Set(now) }

// WriteEnds is described with WriteBegins.
func (m *MemoryUse) WriteEnds() { m.writes.Clear() }

// Recall reports whether the connection is to be cut, with the so many bytes that it
// takes beside its request: others need them more.
func (m *MemoryUse) Recall(by *memory.Client, bytes int64, now time.Time) bool {
	if since := m.writes.Time(); !since.IsZero() && now.Sub(since) > LowMemoryTime {
		return by.Recall(bytes + RequestCost) // it waits for its client to take the answer
	}
	return by.RecallAll(bytes + RequestCost)
}

// MakeRoom has the request end when memory runs low and its client is slow, and reports
// whether it did now: what waits for the client is to be woken. Who has a large buffer
// makes room when large buffers run low.
func (m *MemoryUse) MakeRoom(by *memory.Client, large bool, now time.Time) bool {
	held := memory.Requests
	switch {
	case large:
		held = memory.Buffers
	case m.streams.Load():
		held = memory.Streams
	}
	return by.RunsLow(held) && m.tooSlow(now) && m.toEnd.CompareAndSwap(false, true)
}

// Ends reports whether the request is to end, to make room for others.
func (m *MemoryUse) Ends() bool { return m.toEnd.Load() }
