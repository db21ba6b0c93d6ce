package router

import "serai/upstream"

// Words writes what routes and their members were asked for as tags again.
type Words struct{ keys []key }

// NewWords returns the words of the grammar.
func NewWords() *Words { return &Words{keys()} }

// Route returns what a route's tags say about its requests, by key.
func (w *Words) Route(o *RouteOptions) map[string]string {
	words := make(map[string]string)
	for i := range w.keys {
		if k := &w.keys[i]; k.route != nil {
			if word := k.route(o); word != "" {
				words[k.Name] = word
			}
		}
	}
	return words
}

// Member returns what a member's own tags say beyond weight and canary, by key;
// nil when they say nothing.
func (w *Words) Member(m *upstream.Member) map[string]string {
	var words map[string]string
	target := m.Endpoint.Target()
	for i := range w.keys {
		if k := &w.keys[i]; k.member != nil {
			if word := k.member(m, &target); word != "" {
				if words == nil {
					words = make(map[string]string)
				}
				words[k.Name] = word
			}
		}
	}
	return words
}
