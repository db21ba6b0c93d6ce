package upstream

import (
	"context"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/history"
	"serai/wire/socket"
)

// Registry holds every Endpoint that a table names, and makes the Rooms.
type Registry struct {
	options RegistryOptions
	dialer  Dialer
	prober  *prober
	// probe probes an endpoint once, with a limit for the connect: probeOnce.
	probe func(ctx context.Context, e *Endpoint, connect time.Duration) error

	mu        sync.Mutex
	endpoints map[Target]*Endpoint
	all       []*Endpoint        // these, once asked for; nil when one has come or gone since, never modified
	probed    map[Target]*probed // by their key
	rates     map[job]*jobRate
	checked   map[site]*checked

	probes probes
	states states

	noRoom, noRoomBeyond socket.Moment // when makeRoom, or makeRoomBeyond, found nothing

	ejections struct{ ejected, notEjected atomic.Uint64 }

	line line // of the requests in all Rooms
}

// NewRegistry makes an empty registry. Run must run for endpoints to become
// ready.
func NewRegistry(o RegistryOptions) *Registry {
	o.setDefaults()
	r := &Registry{
		options: o, dialer: Dialer{Timeout: o.ConnectTimeout, WriteIdle: o.WriteIdle, Roots: o.Roots, Mesh: o.Mesh, MaxConns: o.MaxConns},
		prober: newProber(o.probesAtOnce(), o.ProbeRate), endpoints: make(map[Target]*Endpoint),
		probed: make(map[Target]*probed), rates: make(map[job]*jobRate), checked: make(map[site]*checked),
	}
	r.dialer.MakeRoom, r.dialer.MakeRoomBeyond, r.probe = r.makeRoom, r.makeRoomBeyond, r.probeOnce
	if o.MaxConns > 0 {
		r.dialer.shares = newConnShares(forRequests(o.MaxConns))
	}
	if o.Probe != nil {
		r.probe = func(ctx context.Context, e *Endpoint, _ time.Duration) error { return o.Probe(ctx, e) }
	}
	return r
}

// Run probes endpoints and closes idle connections until ctx ends. It returns ctx's
// error once everything that it started has ended.
func (r *Registry) Run(ctx context.Context) error {
	var probing sync.WaitGroup
	defer probing.Wait()
	probing.Go(func() { r.prober.run(ctx, r.look) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.closeIdle(time.Now().Add(time.Hour))
			return ctx.Err()
		case now := <-tick.C:
			for _, e := range r.All() {
				e.transport.Sweep(now)
			}
			r.dialer.shares.settle()
		}
	}
}

func (r *Registry) closeIdle(before time.Time) {
	for _, e := range r.All() {
		e.closeIdle(before)
	}
}

// All returns every endpoint that a table names, in no order. Nobody modifies the list: all who ask get the same
// until an endpoint comes or goes.
func (r *Registry) All() []*Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = slices.AppendSeq(make([]*Endpoint, 0, len(r.endpoints)), maps.Values(r.endpoints))
	}
	return r.all
}

// Acquire returns the Endpoint of t, making it when it is new. Each Acquire
// needs one Release.
func (r *Registry) Acquire(t Target) *Endpoint { return r.AcquireFor(t, "") }

// AcquireFor is Acquire for a service, whose name the log has.
func (r *Registry) AcquireFor(t Target, service string) *Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoints[t]
	if e == nil {
		e = &Endpoint{target: t, service: service, registry: r, dialer: &r.dialer, hash: hashOf(t.Instance, t.Address)}
		e.transport = r.options.Transport(e, Keeping{Timeout: r.options.IdleTimeout, Repeatable: r.options.RepeatableIdle, Most: r.options.MaxIdle})
		e.since.Set(time.Now())
		r.link(e)
		r.endpoints[t], r.all = e, nil
		r.states[Probing].Add(1)
		r.prober.ask(e, false)
	}
	e.refs++
	return e
}

// Release undoes an Acquire. An endpoint without Acquires takes no new request; its
// idle connections are closed, requests in flight go on.
func (r *Registry) Release(e *Endpoint) {
	r.mu.Lock()
	e.refs--
	last := e.refs == 0
	if last {
		delete(r.endpoints, e.target)
		r.all = nil
		r.unlink(e)
	}
	r.mu.Unlock()
	if last {
		e.leave()
		r.tell(e, slog.LevelDebug, history.InstanceGone, "instance is gone")
		r.prober.forget(e)
		e.closeIdle(time.Now().Add(time.Hour))
	}
}

// NewRoom returns a room where the requests of one route of a namespace wait. A Builder
// passes it from each pool of the route to the next.
func (r *Registry) NewRoom(namespace string) *Room { return &Room{registry: r, namespace: namespace} }

// Publish makes p the pool from which requests waiting in its room get members. It is
// called once the table that holds p is current.
func (r *Registry) Publish(p *Pool) {
	if p.room.publish(p) {
		p.room.probeWanted()
	}
}

// reached ends a probing phase of e, in which a probe has succeeded, and hands places
// to the requests that wait.
func (r *Registry) reached(e *Endpoint, from phase) {
	s, ok := e.reached(from, time.Now())
	switch {
	case !ok || s != Ready:
	case from.first():
		r.tell(e, slog.LevelDebug, history.InstanceReady, "instance is ready")
	default:
		r.tell(e, slog.LevelDebug, history.InstanceReadmitted, "instance is ready again")
	}
}

// tell logs what was decided about e.
func (r *Registry) tell(e *Endpoint, level slog.Level, kind history.Kind, message string, args ...any) {
	history.Tell(r.options.Logger, level, kind, message, append(e.fields(), args...)...)
}

// fields name the endpoint in the log.
func (e *Endpoint) fields() []any {
	fields := []any{"address", e.target.Address, "alloc", e.target.Instance}
	if e.target.Namespace != "" {
		fields = append(fields, "namespace", e.target.Namespace)
	}
	if e.service != "" {
		fields = append(fields, "service", e.service)
	}
	return fields
}

// hashOf hashes strings in the same way in every serai.
func hashOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return mix(h.Sum64())
}

// mix mixes the bits of x (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
