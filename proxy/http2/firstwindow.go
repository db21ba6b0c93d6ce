package http2

import (
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// firstWindow is how many bytes of a body the client may send before somebody has read
// them, on a stream that begins (SETTINGS_INITIAL_WINDOW_SIZE). Where memory runs low it is
// a small buffer, which each request has: its body comes through that, more slowly, but
// is not refused. It is guarded by conn.mu, and only the goroutine that reads changes it.
type firstWindow struct {
	size    int64 // of streams that begin now
	told    int64 // by the last SETTINGS
	toldAt  time.Time
	unacked bool // the client may not have seen these yet
}

// wantedWindow is what size is to be.
func (c *conn) wantedWindow() int64 {
	n := c.engine.options.StreamWindow
	if c.front.Memory.RunsLow(memory.Buffers) {
		n = min(n, socket.SmallBuffer)
	}
	return int64(n)
}

// beginWindow is told with the first SETTINGS. Until the client acknowledges them its
// streams may begin with the window that they have without (RFC 9113 section 6.9.2).
func (c *conn) beginWindow() {
	n := c.wantedWindow()
	c.first = firstWindow{size: max(n, http2.InitialWindow), told: n, toldAt: time.Now(), unacked: true}
}

// adaptWindow tells the client another size, if that has changed and was not told within
// the last second. One change at a time: an acknowledgement does not say what it is for.
// C.mu is held.
func (c *conn) adaptWindow() {
	f := &c.first
	want := c.wantedWindow()
	if want == f.told || f.unacked || c.now.Sub(f.toldAt) < settles {
		return
	}
	f.told, f.toldAt, f.unacked = want, c.now, true
	c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.InitialWindowSize, Value: uint32(want)})
	more := want - f.size
	if more <= 0 {
		return
	}
	// It makes the windows of all streams larger (section 6.9.2). Those that have had more
	// than size from the start get it back later.
	f.size = want
	for _, s := range c.streams {
		if s.inWindow += more; s.first >= want {
			s.consumed -= more
		}
		s.first = want
	}
}

// windowAcked: from here on streams begin with what was told. Those that have begun before
// keep what they had, or what is waited for as a whole could not come. C.mu is held.
func (c *conn) windowAcked() {
	f := &c.first
	if !f.unacked {
		return
	}
	f.unacked = false
	less := f.size - f.told
	if less <= 0 {
		return
	}
	f.size = f.told
	for id, s := range c.streams {
		if !s.remoteEnd && !s.gone {
			c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
		}
	}
	for id := range c.discarding {
		c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
	}
}
