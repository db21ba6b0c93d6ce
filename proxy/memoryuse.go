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

// The memory of a request, in bytes, without large buffers: its stack, the engine's state
// and small buffers; and as much again if another goroutine streams its body.
const (
	requestCost = 30 << 10
	streamCost  = 30 << 10
)

// RequestCost returns the memory of each request, in bytes, without large buffers.
func (p *Proxy) RequestCost() int64 { return p.requestCost }

// MemoryUse is how much of the memory that clients share a request uses, and how long
// it has been waiting for its client with it. Engines have one for each request. The
// goroutine that serves the request calls Begin, Stream and End, the one that waits for
// the client calls the methods about waits, and any goroutine the rest.
type MemoryUse struct {
	taken    int64         // bytes that Begin and Stream have taken, 0 for none
	streams  atomic.Bool   // it has streamCost more, to stream its body
	since    socket.Moment // start of the wait for its client, zero for none
	received atomic.Int64  // bytes that came since then
	short    bool          // the current wait is short, because memory runs out
	toEnd    atomic.Bool   // the request must end, to make room for others
	writes   socket.Moment // start of the current write to the client, zero for none
}

// Begin takes the request's memory, which is Proxy.RequestCost, and reports whether there
// was enough.
func (m *MemoryUse) Begin(by *memory.Client, cost int64) bool {
	m.taken, m.short = 0, false
	return m.take(by, cost)
}

// Begun reports whether Begin has succeeded.
func (m *MemoryUse) Begun() bool { return m.taken > 0 }

// Stream takes the memory to stream a body, and reports whether there was enough. A
// small body of known length, which a large buffer would take completely, counts as
// part of the request. But when more than twelve sixteenths of the memory are used, a
// client beyond its share gets no memory for it: a connection to an instance costs many
// times what a refusal does, and a client that sends hundreds of such bodies at once
// would delay all others.
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

// take takes more memory, and reports whether there was enough.
func (m *MemoryUse) take(by *memory.Client, n int64) bool {
	if !by.Take(memory.Requests, n) {
		return false
	}
	m.taken += n
	return true
}

// End gives the request's memory back, and prepares m for the next request. Few
// requests wait for their client, so it loads before it stores: a store makes other
// cores read the value again.
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

// WaitBegins records that the request waits for its client, and returns how long the
// first wait may be. New connections of clients beyond their share are refused from
// thirteen sixteenths of the memory on, and waiting requests must not fill it up to
// there.
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

// Received records that n bytes have come from the client.
func (m *MemoryUse) Received(n int) { m.received.Add(int64(n)) }

// WaitError returns what the error of a read means that has waited for the client.
func (m *MemoryUse) WaitError(err error) error {
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
	// shortWait is for bytes that were sent but are still on their way, shortestWait for
	// bytes that have come but were not read yet.
	shortWait    = 50 * time.Millisecond
	shortestWait = 5 * time.Millisecond
)

// WaitEnds records that the request no longer waits for its client.
func (m *MemoryUse) WaitEnds() { m.since.Clear() }

// While memory runs low, a client that keeps a request waiting for its bytes has a second,
// and after that must send lowMemoryRate bytes a second.
const (
	LowMemoryTime = time.Second
	lowMemoryRate = 16 << 10
)

// TooSlow reports whether the client is too slow for times in which memory or connections
// are scarce.
func (m *MemoryUse) TooSlow(now time.Time) bool {
	since := m.since.Time()
	if since.IsZero() {
		return false
	}
	took := now.Sub(since)
	return took > LowMemoryTime && float64(m.received.Load()) < took.Seconds()*lowMemoryRate
}

// WriteBegins records that a write to the client begins.
func (m *MemoryUse) WriteBegins(now time.Time) { m.writes.Set(now) }

// WriteEnds records that the write has ended.
func (m *MemoryUse) WriteEnds() { m.writes.Clear() }

// Recall reports whether the connection must be cut because others need the memory
// more. Bytes is what it uses with its request.
func (m *MemoryUse) Recall(by *memory.Client, bytes int64, now time.Time) bool {
	if since := m.writes.Time(); !since.IsZero() && now.Sub(since) > LowMemoryTime {
		return by.Recall(bytes) // it waits for its client to read the answer
	}
	return by.RecallAll(bytes)
}

// MakeRoom decides that the request must end if memory runs low and its client is slow,
// and reports whether it decided so now: then the caller wakes the goroutine that waits
// for the client. Large says that the request has a large buffer; it makes room when
// memory for these runs low.
func (m *MemoryUse) MakeRoom(by *memory.Client, large bool, now time.Time) bool {
	held := memory.Requests
	switch {
	case large:
		held = memory.Buffers
	case m.streams.Load():
		held = memory.Streams
	}
	return by.RunsLow(held) && m.TooSlow(now) && m.toEnd.CompareAndSwap(false, true)
}

// Ending reports whether the request must end, to make room for others.
func (m *MemoryUse) Ending() bool { return m.toEnd.Load() }
