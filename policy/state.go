package policy

import "sync"

// State is what the policies of one named route learn from requests: how often
// clients came, what a service said of them. It outlives tables, as the route's
// statistics and rooms do, and ends with the route. The zero State is empty.
type State struct {
	mu   sync.Mutex
	kept map[string]any
}

// Keep returns what the policy of that name keeps in s: what the last table's
// policy kept, or else what begin returns. It is called when a policy is compiled,
// never by a request. One name always has one type.
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
