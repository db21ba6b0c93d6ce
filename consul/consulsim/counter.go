package consulsim

import (
	"sync/atomic"

	"serai/internal/faulty"
)

// Counts say how many requests the agent got.
type Counts struct {
	// Requests is how many began since the start, by kind: the first two parts of the
	// path after /v1/, such as "health/service".
	Requests map[string]int
	// Blocked is the number of blocking queries that wait now.
	Blocked int
}

type counter struct {
	faulty.Counter
	blocked atomic.Int64
}

// Counts returns the counts so far.
func (s *Sim) Counts() Counts {
	return Counts{Requests: s.counter.Counts(), Blocked: int(s.counter.blocked.Load())}
}
