package policy

import (
	"sync"

	"serai/internal/coding"
)

// State is what the policies of one named route learn from requests: how often clients
// came, what a service said about them. It outlives tables, like the route's statistics
// and rooms, and ends with the route. The zero State is empty.
type State struct {
	// Rates is what rate limits share with those of other routes. It must be set before
	// policies are compiled; nil makes one of this State's own.
	Rates *Rates
	// Encoders is what compresses the answers of all routes, as Rates.
	Encoders *coding.Encoders

	mu   sync.Mutex
	kept map[string]any
}

// Keep returns the state of the policy with that name in s: the state of the last
// table's policy, or the result of begin. It is called when a policy is compiled, never
// by a request. A name must always have the same type.
func Keep[T any](s *State, name string, begin func() *T) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[name].(*T); ok {
		return kept
	}
	if s.kept == nil {
		s.kept = make(map[string]any)
	}
	kept := begin()
	s.kept[name] = kept
	return kept
}

// rates returns Rates, with the defaults where there are none.
func (s *State) rates() *Rates {
	if s.Rates == nil {
		return NewRates(0)
	}
	return s.Rates
}

// encoders returns Encoders, with the defaults where there are none.
func (s *State) encoders() *coding.Encoders {
	if s.Encoders == nil {
		s.Encoders = coding.NewEncoders(0)
	}
	return s.Encoders
}
