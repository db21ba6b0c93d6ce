package socket

import "time"

// slack is how much later than requested a deadline of d may take effect: a tenth, and
// at most a second. Setting a timer costs more than parsing a head, so one is set only
// when it moves by more.
func slack(d time.Duration) time.Duration { return min(d/10, time.Second) }

// ReadWithin makes reads fail at d after now (from time.Now), or up to slack later.
// Zero means no limit.
func (c *Conn) ReadWithin(now time.Time, d time.Duration) {
	c.readWithin(now, d, slack(d))
}

// ReadAbout is ReadWithin for a limit that need not be exact: it may be twice as long,
// and so moves less often.
func (c *Conn) ReadAbout(now time.Time, d time.Duration) { c.readWithin(now, d, d) }

func (c *Conn) readWithin(now time.Time, d, slack time.Duration) {
	if c.readBy.move(now, d, slack) {
		c.readDue = true
	}
	// A client that connects has usually sent its request, too: the first read needs no timer. One that is set
	// already would go off too early.
	if c.readTimer.Load() || !c.sys.ok() {
		c.setReadDeadline()
	}
}

// SetReadDeadline sets a deadline at once. Another goroutine may do so, until the next one is set.
func (c *Conn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	c.readTimer.Store(true)
	return err
}

// SetDeadline is SetReadDeadline for reads and writes.
func (c *Conn) SetDeadline(t time.Time) error {
	err := c.Conn.SetDeadline(t)
	c.readTimer.Store(true)
	return err
}

// setReadDeadline sets the deadline of reads, which wait from now on.
func (c *Conn) setReadDeadline() {
	if c.readDue {
		c.readDue = false
		c.readTimer.Store(c.readBy != 0) // first: one that is set meanwhile is noted after it
		c.Conn.SetReadDeadline(c.readBy.time())
		c.stayInterrupted()
	}
}

// readBefore makes reads fail at a time, unless they do so earlier.
func (c *Conn) readBefore(t time.Time) {
	if by := since(t); c.readBy == 0 || by < c.readBy {
		c.readBy, c.readDue = by, true
		c.setReadDeadline()
	}
}

// WriteWithin is ReadWithin for writes.
func (c *Conn) WriteWithin(now time.Time, d time.Duration) {
	if c.writeBy.move(now, d, slack(d)) {
		c.writeDue = true
	}
	// What a handler writes is tried first. Most answers leave whole, and need no timer.
	if c.writeDue && !c.sys.triesFirst() {
		c.setWriteDeadline()
	}
}

// setWriteDeadline sets the deadline of writes, which wait from now on.
func (c *Conn) setWriteDeadline() {
	if c.writeDue {
		c.writeDue = false
		c.SetWriteDeadline(c.writeBy.time())
		c.stayInterrupted()
	}
}

// deadline is a time in nanoseconds since start, 0 for none: a third of the size of a
// time.Time, of which each connection has two. It is made from times with a monotonic
// reading.
type deadline time.Duration

func since(t time.Time) deadline { return deadline(t.Sub(start)) }

func (d deadline) time() time.Time {
	if d == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(d))
}

// move moves the deadline to d after now, or up to slack later, and reports whether a
// timer must be set.
func (set *deadline) move(now time.Time, d, slack time.Duration) bool {
	if d == 0 {
		moved := *set != 0
		*set = 0
		return moved
	}
	const longest = 100 * 365 * 24 * time.Hour
	d = min(d, longest)
	want := since(now) + deadline(d)
	if late := *set - want; *set != 0 && late >= 0 && late <= deadline(slack) {
		return false
	}
	*set = want + deadline(slack)
	return true
}

// Interrupt makes reads and writes that wait in another goroutine, and all later ones,
// fail with a timeout.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	c.stayInterrupted()
}

// Interrupted reports whether Interrupt was called, and not undone.
func (c *Conn) Interrupted() bool { return c.interrupted.Load() }

// InterruptReads does so only for reads: an answer can still be written.
func (c *Conn) InterruptReads() {
	c.readsInterrupted.Store(true)
	c.stayInterrupted()
}

// stayInterrupted keeps a deadline that is set concurrently from undoing Interrupt.
func (c *Conn) stayInterrupted() {
	switch {
	case c.interrupted.Load():
		c.SetDeadline(time.Unix(1, 0))
	case c.readsInterrupted.Load():
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// Resume undoes Interrupt and InterruptReads, and all deadlines.
func (c *Conn) Resume() {
	c.interrupted.Store(false)
	c.readsInterrupted.Store(false)
	c.readBy, c.readDue, c.writeBy, c.writeDue = 0, false, 0, false
	c.readTimer.Store(false)
	c.Conn.SetDeadline(time.Time{})
}
