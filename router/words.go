package router

import "serai/upstream"

// Words writes the options of routes and members as tags again.
type Words struct{ keys []key }

// NewWords returns Words for the whole grammar.
func NewWords() *Words { return &Words{keys()} }

// Route returns a route's options, by key.
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

// Member returns a member's own options besides weight and canary, by key; nil when
// there are none.
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
