package proxy

import "time"

// An instance that closes the connection is not to blame if its client kept it waiting: most
// servers end a request whose body comes too slowly, or whose answer is taken too slowly, some
// of them without an answer. Otherwise a few slow clients could have an instance ejected.

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
}

// asks records that a wait for the instance begins.
func (k *takings) asks(now time.Time) { k.asked = now }

// got records that the wait is over.
func (k *takings) got() {
	if !k.asked.IsZero() {
		k.waited += time.Since(k.asked)
		k.asked = time.Time{}
	}
}

// keptWaiting reports whether the instance has waited for the client for so long that it may
// have given up.
func (k *takings) keptWaiting() bool { return time.Since(k.began)-k.waited >= patience }
