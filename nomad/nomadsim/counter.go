package nomadsim

import (
	"sync/atomic"

	"serai/internal/faulty"
)

// Counts say how many requests the agent got.
type Counts struct {
	// Requests is how many began since the start, by kind (nomad.KindService and so
	// on). A stream is one request.
	Requests map[string]int
	// Streams and Blocked are the event streams and blocking queries that are open now.
	Streams, Blocked int
}

type counter struct {
	faulty.Counter
	streams, blocked atomic.Int64
}

// Counts returns the counts so far.
func (s *Sim) Counts() Counts {
	return Counts{Requests: s.counter.Counts(), Streams: int(s.counter.streams.Load()), Blocked: int(s.counter.blocked.Load())}
}
