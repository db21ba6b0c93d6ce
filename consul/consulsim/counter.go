package consulsim

import (
	"maps"
	"sync"
	"sync/atomic"
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
	mu       sync.Mutex
	requests map[string]int
	blocked  atomic.Int64
}

func (c *counter) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[string]int{}
	}
	c.requests[kind]++
}

// Counts returns the counts so far.
func (s *Sim) Counts() Counts {
	s.counter.mu.Lock()
	defer s.counter.mu.Unlock()
	return Counts{Requests: maps.Clone(s.counter.requests), Blocked: int(s.counter.blocked.Load())}
}
