package upstream

import (
	"sync/atomic"
	"time"

	"serai/wire/socket"
)

// latency is a moving average of the time to the first byte. It halves for each
// halfLife without a sample, so that an instance that was slow once is tried again.
// Lost updates do no harm, so it takes no lock.
type latency struct {
	average atomic.Int64  // nanoseconds
	at      socket.Moment // of the last sample
}

const (
	halfLife = 5 * time.Second
	// A new sample counts for an eighth.
	sampleShift = 3
)

func (l *latency) observe(now time.Time, d time.Duration) {
	old := l.average.Load()
	if old == 0 {
		old = int64(d)
	}
	l.average.Store(old + (int64(d)-old)>>sampleShift)
	l.at.Again(now, 10*time.Millisecond) // much less than a halfLife
}

// value returns the average at now; 0 when nothing is known.
func (l *latency) value(now time.Time) time.Duration {
	age := max(now.Sub(l.at.Time()), 0) // another goroutine may be ahead
	return time.Duration(l.average.Load() >> min(uint(age/halfLife), 63))
}
