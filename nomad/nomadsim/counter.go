package nomadsim

import (
	"maps"
	"sync"
	"sync/atomic"
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
	mu       sync.Mutex
	requests map[string]int
	streams  atomic.Int64
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
	return Counts{
		Requests: maps.Clone(s.counter.requests),
		Streams:  int(s.counter.streams.Load()),
		Blocked:  int(s.counter.blocked.Load()),
	}
}
