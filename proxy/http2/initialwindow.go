package http2

import (
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// initialWindow is the window of new streams: how many bytes of a body the client may
// send before they are read (SETTINGS_INITIAL_WINDOW_SIZE). When memory runs low it is
// the size of a small buffer, which each request has: its body then comes more slowly,
// but is not refused.
//
// A larger size counts as soon as it is announced, because the client may use it from
// then on. A smaller one counts once the client has acknowledged it, because until then
// streams may begin with the larger one.
//
// It is guarded by conn.mu, and only the goroutine that reads changes it.
type initialWindow struct {
	size        int64 // window of streams that begin now
	announced   int64 // in the last SETTINGS
	announcedAt time.Time
	unacked     bool // the client has not acknowledged these SETTINGS yet
}

// announceEvery is the least time between two changes of the initial window.
const announceEvery = time.Second

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
	c.initial = initialWindow{size: max(n, http2.InitialWindow), announced: n, announcedAt: time.Now(), unacked: true}
}

// adaptWindow announces another size if new streams should have one, one change at a
// time: an acknowledgement does not say which SETTINGS it is for. c.mu is held.
func (c *conn) adaptWindow() {
	w, size := &c.initial, c.wantedWindow()
	if size == w.announced || w.unacked || c.now.Sub(w.announcedAt) < announceEvery {
		return
	}
	w.announced, w.announcedAt, w.unacked = size, c.now, true
	c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.InitialWindowSize, Value: uint32(size)})
	if size <= w.size {
		return // windowAcked applies it
	}
	// The client adds the difference to the windows of all streams (RFC 9113 section 6.9.2).
	more := size - w.size
	w.size = size
	for _, s := range c.streams {
		s.inWindow += more
		if s.initial >= size {
			// It has kept a window of this size while that of new streams was smaller, and
			// now has more. The surplus is subtracted from what it would get back later.
			s.consumed -= more
		}
		s.initial = size
	}
}

// windowAcked applies the announced size to new streams, if it is smaller. Streams that
// have begun before keep theirs, as what the client subtracts from it is given back at
// once; otherwise bodies that are waited for completely could not come. c.mu is held.
func (c *conn) windowAcked() {
	w := &c.initial
	if !w.unacked {
		return
	}
	w.unacked = false
	less := w.size - w.announced
	if less <= 0 {
		return
	}
	w.size = w.announced
	for id, s := range c.streams {
		if !s.remoteEnd && !s.gone {
			c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
		}
	}
	for id := range c.discarding {
		c.out = http2.AppendWindowUpdate(c.out, id, uint32(less))
	}
}
