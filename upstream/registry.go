package upstream

// Registry holds every Endpoint and Room that a table names.
type Registry struct{}

// Acquire returns the Endpoint of t, making it when it is new. Each Acquire
// needs one Release.
func (r *Registry) Acquire(t Target) *Endpoint { return &Endpoint{target: t} }

// Release gives back an Acquire. An endpoint that nobody holds takes no new
// request; its idle connections are closed, what is in flight goes on.
func (r *Registry) Release(e *Endpoint) {}

// Room returns the room of that name, making it when it is new. The name is
// that of the route: namespace, service and route name.
func (r *Registry) Room(name string) *Room { return &Room{} }

// Publish makes p the pool that requests waiting in its room are given to.
// It is called once the table that holds p is current.
func (r *Registry) Publish(p *Pool) {}
