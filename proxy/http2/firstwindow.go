package http2

import (
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// firstWindow is the window of new streams: how many bytes of a body the client may
// send before they are read (SETTINGS_INITIAL_WINDOW_SIZE). When memory runs low it is
// the size of a small buffer, which each request has: its body then comes more slowly,
// but is not refused. It is guarded by conn.mu, and only the goroutine that reads
// changes it.
type firstWindow struct {
	size        int64 // window of streams that begin now
	announced   int64 // in the last SETTINGS
	announcedAt time.Time
	unacked     bool // the client has not acknowledged these SETTINGS yet
}

// wantedWindow is the window that new streams should have.
func (c *conn) wantedWindow() int64 {
	n := c.engine.options.StreamWindow
	if c.front.Memory.RunsLow(memory.Buffers) {
		n = min(n, socket.SmallBuffer)
	}
	return int64(n)
}

// beginWindow sets the window for the first SETTINGS. Until the client acknowledges
// them, its streams may begin with the default window (RFC 9113 section 6.9.2).
func (c *conn) beginWindow() {
	n := c.wantedWindow()
	c.first = firstWindow{size: max(n, http2.InitialWindow), announced: n, announcedAt: time.Now(), unacked: true}
}

// adaptWindow announces another size if it has changed and the last announcement is at
// least a second old. It makes one change at a time, because an acknowledgement does
// not say which SETTINGS it is for. c.mu is held.
func (c *conn) adaptWindow() {
	f := &c.first
	want := c.wantedWindow()
	if want == f.announced || f.unacked || c.now.Sub(f.announcedAt) < parkAfter {
		return
	}
	f.announced, f.announcedAt, f.unacked = want, c.now, true
	c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.InitialWindowSize, Value: uint32(want)})
	more := want - f.size
	if more <= 0 {
		return
	}
	// This enlarges the windows of all streams (section 6.9.2). From streams that began with
	// more than size, it is subtracted from what they give back later.
	f.size = want
	for _, s := range c.streams {
		if s.inWindow += more; s.first >= want {
			s.consumed -= more
		}
		s.first = want
	}
}

// windowAcked applies the announced size to new streams. Streams that have begun before
// keep theirs; otherwise bodies that are waited for completely could not come. c.mu is
// held.
func (c *conn) windowAcked() {
	f := &c.first
	if !f.unacked {
		return
	}
	f.unacked = false
	less := f.size - f.announced
	if less <= 0 {
		return
	}
	f.size = f.announced
	for id, s := range c.streams {
		if !s.remoteEnd && !s.gone {
			c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
		}
	}
	for id := range c.discarding {
		c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
	}
}
