package quota

import (
	"sync/atomic"
	"time"
)

// Seldom bounds how often something is told that others can bring about as often as they
// like: once in a while. The zero Seldom has told nothing. All methods may be called
// concurrently.
type Seldom struct {
	told atomic.Int64 // Unix nanoseconds of the last time
	left atomic.Uint64
}

// Take reports whether to tell it, which is once in every, and how often it was left out
// since the last time.
func (s *Seldom) Take(now time.Time, every time.Duration) (left uint64, ok bool) {
	last := s.told.Load()
	if age := now.UnixNano() - last; last != 0 && age >= 0 && age < int64(every) || !s.told.CompareAndSwap(last, now.UnixNano()) {
		s.left.Add(1)
		return 0, false
	}
	return s.left.Swap(0), true
}
