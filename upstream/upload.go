package upstream

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"serai/wire/socket"
)

// ErrNoMore says that the instance accepts no more of the body: its answer, if any,
// says why.
var ErrNoMore = errors.New("the instance takes no more of the body")

// LastWrite is how long the last bytes of a body may take once it is answered.
const LastWrite = 100 * time.Millisecond

// Upload is the part of a request's body that did not leave with its head. A goroutine
// of the transport sends it, once, while the request waits for the answer. A nil Upload
// has nothing to send; its methods may be called at the same time.
type Upload struct {
	Body RequestBody
	// Ended is closed when the goroutine has ended.
	Ended chan struct{}

	stopped atomic.Bool
	whole   atomic.Bool   // all of it has arrived, and the rest is being sent
	last    socket.Moment // time of the last progress

	mu       sync.Mutex
	finished bool
	err      error // the body's error, or ErrNoMore
}

// NewUpload makes an Upload that begins now.
func NewUpload(body RequestBody) *Upload {
	u := &Upload{Body: body, Ended: make(chan struct{})}
	u.last.Set(time.Now())
	return u
}

// Run sends the body with send. If the body fails, and nobody has stopped it, failed is
// called. A panic, which may come from the provider of the body, is reported to c.
func (u *Upload) Run(c Caller, send func() error, failed func()) {
	defer close(u.Ended)
	err := contained(c, send)
	u.mu.Lock()
	u.finished, u.err = true, err
	u.mu.Unlock()
	u.last.Set(time.Now())
	if err != nil && err != ErrNoMore && !u.stopped.Load() {
		failed()
	}
}

func contained(c Caller, send func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = c.Panicked(cause)
		}
	}()
	return send()
}

// Progress records that bytes have arrived or were sent.
func (u *Upload) Progress(now time.Time) { u.last.Set(now) }

// SetWhole records whether all of the body has arrived, and the rest is being sent.
func (u *Upload) SetWhole(whole bool) { u.whole.Store(whole) }

// Whole returns what SetWhole has recorded.
func (u *Upload) Whole() bool { return u.whole.Load() }

// Stop records that the upload is stopped, so that its failure means nothing.
func (u *Upload) Stop() { u.stopped.Store(true) }

// Finished reports whether there is nothing more to send.
func (u *Upload) Finished() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.finished
}

// LastProgress returns when the upload last made progress. While it is running this is
// now.
func (u *Upload) LastProgress() time.Time {
	if u == nil {
		return time.Time{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil && u.err != ErrNoMore:
		return time.Time{} // nothing is left to wait for
	case !u.finished:
		return time.Now()
	}
	return u.last.Time()
}

// ServiceTime returns how long the instance took for an answer whose first byte came at
// now. That counts from the last part of the body that came for it, or from sent, when the
// head was sent: the time before is the client's. It is never 0.
func (u *Upload) ServiceTime(sent, now time.Time) time.Duration {
	if u != nil {
		if last := u.last.Time(); last.After(sent) {
			sent = last
		}
	}
	return max(now.Sub(sent), 1)
}

// Err returns why the body was not sent completely: its own error, or ErrNoMore. It is
// nil as long as that is still possible.
func (u *Upload) Err() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// BodyError returns the error of the body itself, nil when there was none.
func (u *Upload) BodyError() error {
	if err := u.Err(); err != ErrNoMore {
		return err
	}
	return nil
}
