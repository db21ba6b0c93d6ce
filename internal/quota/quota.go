// Package quota answers: is there room for one more?
package quota

import "sync/atomic"

// Quota counts what many share. A place is taken in one step or not at all, so
// that the limit is never exceeded, and nobody is refused because of somebody who
// was refused. The zero Quota has nothing taken. All methods may be called at the
// same time.
type Quota struct{ taken atomic.Int64 }

// Take takes n if that leaves no more than limit taken, and reports whether it
// did.
func (q *Quota) Take(n, limit int64) bool {
	for {
		taken := q.taken.Load()
		if taken+n > limit {
			return false
		}
		if q.taken.CompareAndSwap(taken, taken+n) {
			return true
		}
	}
}

// Give gives n back.
func (q *Quota) Give(n int64) { q.taken.Add(-n) }

// Taken returns what is taken.
func (q *Quota) Taken() int64 { return q.taken.Load() }
