// Package quota answers: is there still room for one more? A part of a limited number
// is taken in one atomic step or not at all, so that a limit is never exceeded, not
// even for a moment, and two that fit never refuse each other.
package quota

import "sync/atomic"

// Quota counts what is taken of a limited number: requests, bytes, connections. The
// limit is passed to each Take, since it may differ from one to the next. In the zero
// value nothing is taken. All methods may be called concurrently.
type Quota struct {
	taken atomic.Int64
}

// Take takes n if then at most limit are taken, and reports whether it did. What was
// taken must be given back once, with Give.
func (q *Quota) Take(n, limit int64) bool {
	for {
		taken := q.taken.Load()
		if n > limit-taken {
			return false
		}
		if q.taken.CompareAndSwap(taken, taken+n) {
			return true
		}
	}
}

// Add takes n without a limit, for users that have none. It counts for the others.
func (q *Quota) Add(n int64) { q.taken.Add(n) }

// Give gives n back.
func (q *Quota) Give(n int64) { q.taken.Add(-n) }

// Taken returns how much is taken.
func (q *Quota) Taken() int64 { return q.taken.Load() }
