package upstream

// Endpoint is one address and all that is known of it. It is made by a
// Registry and shared by all pools that name its Target.
type Endpoint struct {
	target Target
}

// Target returns what this endpoint dials.
func (e *Endpoint) Target() Target { return e.target }
