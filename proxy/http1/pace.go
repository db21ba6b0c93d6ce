package http1

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// pace is how fast the client sends a body. What counts is the time in which the
// client was waited for: while the instance takes nothing, so that nobody reads,
// none passes.
type pace struct {
	// late is for how long the client has been waited for beyond what the bytes
	// that came account for at the least rate; never below zero, so that nobody
	// earns a long pause by a fast beginning.
	late time.Duration
	// answered says that the final answer has begun.
	answered atomic.Bool
}

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// waited notes that n bytes came after a wait that took so long, at a least rate in
// bytes a second.
func (p *pace) waited(took time.Duration, n, rate int) {
	if rate > 0 {
		earned := time.Duration(float64(n) / float64(rate) * float64(time.Second))
		p.late = max(0, p.late+took-earned)
	}
}

// waits notes that the client is waited for, from then on, and returns for how long
// at most.
func (b *requestBody) waits(began time.Time) time.Duration {
	o := &b.conn.engine.options
	if b.converses() {
		return o.BodyIdle
	}
	return min(o.BodyIdle, b.conn.session.memoryUse.WaitBegins(began, b.conn.front.Memory))
}

// waited notes that n bytes came after a wait that began then, and returns what its
// error means: memory may be needed by others.
func (b *requestBody) waited(began time.Time, n int, err error) error {
	b.pace.waited(time.Since(began), n, b.conn.engine.options.MinRate)
	d := &b.conn.session.memoryUse
	d.Received(n)
	return d.WaitError(err)
}

// lookAgain is how often a client that is too slow, but may be, is looked at.
const lookAgain = time.Second

// crawl reads once from a client that is late, and returns how many bytes came.
func (b *requestBody) crawl() (n int, err error) {
	w, o := b.conn.wire, &b.conn.engine.options
	began, had := time.Now(), len(w.Buffered())
	b.waits(began)
	for now := began; ; now = time.Now() {
		left := o.BodyIdle - b.pace.late
		if left <= 0 && b.hinders() {
			return 0, errBodySlow
		}
		if left <= 0 {
			left = lookAgain
		}
		w.ReadWithin(now, min(o.BodyIdle-now.Sub(began), left))
		n = len(w.Buffered())
		err = w.Fill()
		n = len(w.Buffered()) - n
		err = b.waited(now, n, err)
		if n = len(w.Buffered()) - had; !errors.Is(err, os.ErrDeadlineExceeded) || b.interrupted.Load() || w.Interrupted() || time.Since(began) >= o.BodyIdle {
			return n, err
		}
	}
}

// hinders reports whether a body that comes slowly is in anybody's way. One of
// unknown length may be a stream that has nothing to say: it is left alone until
// a request waits for its place.
func (b *requestBody) hinders() bool {
	s := b.conn.session
	return !b.pace.answered.Load() && (s.Head.Framing == wire.Length || s.Wanted())
}

// converses reports whether client and instance talk with each other, so that a pause
// is nobody's fault. A body of a known length is no talk: its client had it all when
// the request began, whatever the instance answers meanwhile.
func (b *requestBody) converses() bool {
	return b.pace.answered.Load() && b.conn.session.Head.Framing != wire.Length
}

// await prepares a read that may have to wait, which begins then. It fails when
// the client is too slow; any other error is left to the read.
func (b *requestBody) await() (began time.Time, err error) {
	if b.pace.late > 0 {
		_, err = b.crawl()
		if err == errBodySlow || err == wire.ErrOverloaded || errors.Is(err, os.ErrDeadlineExceeded) {
			b.note(0, err)
			return began, err
		}
	}
	began = time.Now()
	b.conn.wire.ReadWithin(began, b.waits(began))
	return began, nil
}

// Gather waits until a body that fits a large buffer is here: it leaves in one
// write then, needs no goroutine, may go over an idle connection and be repeated,
// and takes no place at an instance before. It is not waited for when the client
// asks whether to send it, nor beyond a small buffer where there is no memory for a
// large one. What is not here then is streamed, if there is memory for that.
func (b *requestBody) Gather() error {
	err := b.gather()
	s := b.conn.session
	switch {
	case err == wire.ErrOverloaded && !s.memoryUse.Ending():
	case err != nil:
		b.note(0, err)
		return err
	case s.Head.Framing == wire.Length && int64(len(b.conn.wire.Buffered())) >= s.Head.Size:
		return nil
	}
	small := s.Head.Framing == wire.Length && s.Head.Size <= socket.LargeBuffer
	if !s.memoryUse.Stream(b.conn.front.Memory, small) {
		return wire.ErrOverloaded
	}
	return nil
}

// gather reads what Gather waits for.
func (b *requestBody) gather() error {
	w := b.conn.wire
	for len(w.Buffered()) < b.gathers && w.FillReady() {
	}
	for len(w.Buffered()) < b.gathers {
		var err error
		if b.pace.late > 0 {
			_, err = b.crawl()
		} else {
			began, had := time.Now(), len(w.Buffered())
			w.ReadWithin(began, b.waits(began))
			err = w.Fill()
			err = b.waited(began, len(w.Buffered())-had, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
