package proxy

import (
	"errors"
	"os"
	"time"
)

// An instance that closes the connection is not to blame if its client kept it waiting: most
// servers end a request whose body comes too slowly, or whose answer is taken too slowly, some
// of them without an answer. Nor is it to blame for silence in an answer without a length,
// which may be a stream of events that have not happened: an instance that hangs does not
// answer the next request either. Otherwise a few slow clients, or quiet streams, could have an
// instance ejected.

// patience is less than the time for which any server waits for a client.
const patience = time.Second

// keptWaiting reports whether the instance has waited that long for a body that has not come
// completely. The transport pulls no more of it.
func (u *upload) keptWaiting() bool { return u.waited >= patience && !u.body.Done() }

// takings measures how long a client takes to take an answer.
type takings struct {
	began  time.Time     // of the answer
	asked  time.Time     // when the current wait for the instance began, zero for none
	waited time.Duration // for the instance, before that
	last   time.Duration // the last of these waits; 0 if nothing had to be waited for
}

// asks records that a wait for the instance begins.
func (k *takings) asks(now time.Time) { k.asked = now }

// got records that the wait is over.
func (k *takings) got() {
	k.last = 0
	if !k.asked.IsZero() {
		k.last = time.Since(k.asked)
		k.waited += k.last
		k.asked = time.Time{}
	}
}

// silent reports whether the wait for the instance has ended with err because it brought
// nothing for that long.
func (k *takings) silent(err error, idle time.Duration) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && k.last >= idle
}

// keptWaiting reports whether the instance has waited for the client for so long that it may
// have given up.
func (k *takings) keptWaiting() bool { return time.Since(k.began)-k.waited >= patience }
