package router

import (
	"sync/atomic"
	"time"
)

// Lines bounds the lines of a log about one thing that a client can bring about as often
// as it likes. The zero Lines has written none. All methods may be called concurrently.
type Lines struct {
	second  atomic.Int64 // Unix time
	written atomic.Int64 // within it
	left    atomic.Uint64
}

// Take reports whether there is to be a line, of which there are at most that many a
// second, and how many were left out since the last one. At the turn of a second there may
// be a few more.
func (l *Lines) Take(now time.Time, most int) (left uint64, ok bool) {
	this := now.Unix()
	if last := l.second.Load(); last != this && l.second.CompareAndSwap(last, this) {
		l.written.Store(0)
	}
	if l.written.Load() >= int64(most) || l.written.Add(1) > int64(most) {
		l.left.Add(1)
		return 0, false
	}
	return l.left.Swap(0), true
}
