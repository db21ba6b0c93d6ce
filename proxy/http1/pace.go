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

// pace is how fast the client sends a body. Only time in which serai waits for the
// client counts: while the instance accepts nothing, nobody reads, and no time is
// counted.
type pace struct {
	// late is how much longer serai has waited for the client than the minimum rate
	// allows for the bytes that came. It is never negative, so that a fast start does
	// not allow a long pause later.
	late time.Duration
	// answered says that the final answer has begun.
	answered atomic.Bool
}

var errBodySlow = proxy.ReasonBodySlow.Refusal()

// waited counts n bytes that came after a wait of that length. Rate is the minimum, in
// bytes a second.
func (p *pace) waited(took time.Duration, n, rate int) {
	if rate > 0 {
		earned := time.Duration(float64(n) / float64(rate) * float64(time.Second))
		p.late = max(0, p.late+took-earned)
	}
}

// beginWait records that a wait for the client begins, and returns how long it may
// last.
func (b *requestBody) beginWait(began time.Time) time.Duration {
	o := &b.conn.engine.options
	if b.converses() {
		return o.BodyIdle
	}
	return min(o.BodyIdle, b.conn.session.memoryUse.WaitBegins(began, b.conn.front.Memory))
}

// endWait records that n bytes came after a wait that began then, and returns what its
// error means: others may need the memory.
func (b *requestBody) endWait(began time.Time, n int, err error) error {
	b.pace.waited(time.Since(began), n, b.conn.engine.options.MinRate)
	use := &b.conn.session.memoryUse
	use.Received(n)
	return use.WaitError(err)
}

// lookAgain is the time between looks at a client that is too slow and may be.
const lookAgain = time.Second

// readLate reads once from a client that is late, and returns how many bytes came.
func (b *requestBody) readLate() (n int, err error) {
	w, o := b.conn.wire, &b.conn.engine.options
	began, had := time.Now(), len(w.Buffered())
	b.beginWait(began)
	for now := began; ; now = time.Now() {
		left := o.BodyIdle - b.pace.late
		if left <= 0 && b.rateApplies() {
			return 0, errBodySlow
		}
		if left <= 0 {
			left = lookAgain
		}
		w.ReadWithin(now, min(o.BodyIdle-now.Sub(began), left))
		before := len(w.Buffered())
		err = w.Fill()
		came := len(w.Buffered()) - before
		err = b.endWait(now, came, err)
		timedOut := errors.Is(err, os.ErrDeadlineExceeded) && !b.interrupted.Load() && !w.Interrupted()
		if !timedOut || time.Since(began) >= o.BodyIdle {
			return len(w.Buffered()) - had, err
		}
	}
}

// rateApplies reports whether the client must keep to the minimum rate. A body of
// unknown length may be a stream that has nothing to send, so it is ended only when
// another request waits for its place.
func (b *requestBody) rateApplies() bool {
	s := b.conn.session
	return !b.pace.answered.Load() && (s.Head.Framing == wire.Length || s.Wanted())
}

// converses reports whether client and instance exchange messages, so that a pause is
// normal. A body of known length is no conversation: the client had all of it when the
// request began, whatever the instance has answered meanwhile.
func (b *requestBody) converses() bool {
	return b.pace.answered.Load() && b.conn.session.Head.Framing != wire.Length
}

// await prepares a read that may have to wait. It fails if the client is too slow; all
// other errors are left to the read.
func (b *requestBody) await() (began time.Time, err error) {
	if b.pace.late > 0 {
		_, err = b.readLate()
		if err == errBodySlow || err == wire.ErrOverloaded || errors.Is(err, os.ErrDeadlineExceeded) {
			b.note(0, err)
			return began, err
		}
	}
	began = time.Now()
	b.conn.wire.ReadWithin(began, b.beginWait(began))
	return began, nil
}

// Gather waits until a body that fits into a large buffer is complete. Then it is sent
// in one write, needs no goroutine, may use an idle connection, can be sent again, and
// holds no place on an instance before. It does not wait when the client asks whether
// to send the body, nor for more than a small buffer if there is no memory for a large
// one. What has not come then is streamed, if there is memory for that.
func (b *requestBody) Gather() (waited bool, err error) {
	waited, err = b.gather()
	s := b.conn.session
	switch {
	case err == wire.ErrOverloaded && !s.memoryUse.Ending():
	case err != nil:
		b.note(0, err)
		return waited, err
	case s.Head.Framing == wire.Length && int64(len(b.conn.wire.Buffered())) >= s.Head.Size:
		return waited, nil
	}
	small := s.Head.Framing == wire.Length && s.Head.Size <= socket.LargeBuffer
	if !s.memoryUse.Stream(b.conn.front.Memory, small) {
		return waited, wire.ErrOverloaded
	}
	return waited, nil
}

// gather reads the body for Gather.
func (b *requestBody) gather() (waited bool, err error) {
	w := b.conn.wire
	for len(w.Buffered()) < b.gathers && w.FillReady() {
	}
	for ; len(w.Buffered()) < b.gathers; waited = true {
		if b.pace.late > 0 {
			_, err = b.readLate()
		} else {
			began, had := time.Now(), len(w.Buffered())
			w.ReadWithin(began, b.beginWait(began))
			err = w.Fill()
			err = b.endWait(began, len(w.Buffered())-had, err)
		}
		if err != nil {
			return true, err
		}
	}
	return waited, nil
}
