package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"serai/wire/socket"
)

// RegistryOptions are the options of all endpoints. Zero values mean the defaults given
// here.
type RegistryOptions struct {
	// ConnectTimeout bounds a connect, 2s.
	ConnectTimeout time.Duration
	// WriteIdle is how long an instance may accept nothing of what is sent; 0 leaves it
	// to the system.
	WriteIdle time.Duration
	// IdleTimeout is how long a connection is kept for reuse, 4s: below the
	// five seconds after which common servers close theirs.
	IdleTimeout time.Duration
	// MaxIdle bounds the idle connections to one endpoint, 2048. Negative keeps none.
	MaxIdle int
	// Transport makes the transport of an endpoint; nil makes none, for tables that
	// serve no requests.
	Transport func(*Endpoint, Keeping) Transport
	// Probe replaces the connect or check of an endpoint, for tests without sockets;
	// nil for none.
	Probe func(context.Context, *Endpoint) error
	// MaxWaiting bounds the requests that wait in one Room, 1000; MaxWaitingBytes what
	// the requests in all Rooms hold together, 64 MiB, of which each namespace and each
	// of its routes has a share.
	MaxWaiting      int
	MaxWaitingBytes int64
	// Probes bounds the probes in progress, 256, or what an eighth of MaxConns allows;
	// probes that requests wait for, and slow probes, are counted separately. ProbeRate
	// bounds probes of instances that are not ready, per second, 2000, and JobProbeRate
	// probes of the instances of one job, 500; the first one of each instance is free.
	Probes, ProbeRate, JobProbeRate int
	// MinCheckInterval is the shortest pause after a successful check, 1s; negative for
	// none. MaxCheckTime is the longest time of one check, 1m.
	MinCheckInterval, MaxCheckTime time.Duration
	// MaxConns bounds the connections to all instances together, in use, idle or for
	// probes; 0 means no limit.
	MaxConns int
	// EjectAfter is how many failures in a row eject an instance, 5; negative for
	// never. EjectShare is the share of 5xx among the answers of some seconds that also
	// does, above 0 and below 1; 0 for never.
	EjectAfter int
	EjectShare float64
	// EjectTime is how long the first ejection lasts, 10s; each one that
	// follows closely is twice as long.
	EjectTime time.Duration
	// SlowStart is the time over which the share of an instance grows after it became
	// ready, 10s; negative for none.
	SlowStart time.Duration
	// StickyKey is a secret for the values of sticky cookies, besides the random IDs of
	// instances. All serai of a cluster must have the same.
	StickyKey []byte
	// Roots verify https instances; nil means the system's roots.
	Roots *x509.CertPool
	// Logger gets changes of state; nil discards them.
	Logger *slog.Logger
}

func (o *RegistryOptions) setDefaults() {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 2 * time.Second
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 4 * time.Second
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 1000
	}
	if o.MaxWaitingBytes == 0 {
		o.MaxWaitingBytes = 64 << 20
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = 2048
	}
	if o.Probes == 0 {
		o.Probes = 256
	}
	if o.ProbeRate == 0 {
		o.ProbeRate = 2000
	}
	if o.JobProbeRate == 0 {
		o.JobProbeRate = 500
	}
	if o.MinCheckInterval == 0 {
		o.MinCheckInterval = time.Second
	}
	if o.MaxCheckTime == 0 {
		o.MaxCheckTime = time.Minute
	}
	if o.EjectAfter == 0 {
		o.EjectAfter = 5
	}
	if o.EjectTime == 0 {
		o.EjectTime = 10 * time.Second
	}
	if o.SlowStart == 0 {
		o.SlowStart = 10 * time.Second
	}
	if o.Transport == nil {
		o.Transport = func(*Endpoint, Keeping) Transport { return noTransport{} }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is wrong with the options at once.
func (o RegistryOptions) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"connect timeout", o.ConnectTimeout}, {"idle timeout", o.IdleTimeout}, {"eject time", o.EjectTime},
		{"max check time", o.MaxCheckTime}} {
		if d.value < 0 {
			errs = append(errs, errors.New(d.name+" is negative"))
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"max waiting", int64(o.MaxWaiting)}, {"max waiting bytes", o.MaxWaitingBytes}, {"probes", int64(o.Probes)},
		{"probe rate", int64(o.ProbeRate)}, {"probe rate of a job", int64(o.JobProbeRate)}, {"max connections", int64(o.MaxConns)}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s %d is negative", n.name, n.value))
		}
	}
	if o.EjectShare < 0 || o.EjectShare >= 1 {
		errs = append(errs, fmt.Errorf("eject share %v is not at least 0 and below 1", o.EjectShare))
	}
	return errors.Join(errs...)
}

// Registry holds every Endpoint that a table names, and makes the Rooms.
type Registry struct {
	options RegistryOptions
	dialer  Dialer
	prober  *prober
	// probe probes an endpoint once, with a limit for the connect: probeOnce.
	probe func(ctx context.Context, e *Endpoint, connect time.Duration) error

	mu        sync.Mutex
	endpoints map[Target]*Endpoint
	probed    map[Target]*probed // by their question
	rates     map[job]*jobRate
	checked   map[site]*checked

	probes probes

	noRoom socket.Moment // when makeRoom found nothing

	ejections struct{ ejected, notEjected atomic.Uint64 }

	line line // of the requests in all Rooms
}

// probesAtOnce is the number of normal probes at once: together with urgent and slow
// ones they use the eighth of the connections that requests do not use, and no more.
func (o *RegistryOptions) probesAtOnce() int {
	if o.MaxConns == 0 {
		return o.Probes
	}
	return min(o.Probes, max(1, o.MaxConns/8/(2+slowShare)))
}

// NewRegistry makes an empty registry. Run must run for endpoints to become
// ready.
func NewRegistry(o RegistryOptions) *Registry {
	o.setDefaults()
	r := &Registry{
		options: o, dialer: Dialer{Timeout: o.ConnectTimeout, WriteIdle: o.WriteIdle, Roots: o.Roots, MaxConns: o.MaxConns},
		prober: newProber(o.probesAtOnce(), o.ProbeRate), endpoints: make(map[Target]*Endpoint),
		probed: make(map[Target]*probed), rates: make(map[job]*jobRate), checked: make(map[site]*checked),
	}
	r.dialer.MakeRoom, r.probe = r.makeRoom, r.probeOnce
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
			for _, e := range r.all() {
				e.transport.Sweep(now)
			}
		}
	}
}

func (r *Registry) closeIdle(before time.Time) {
	for _, e := range r.all() {
		e.closeIdle(before)
	}
}

func (r *Registry) all() []*Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Endpoint, 0, len(r.endpoints))
	for _, e := range r.endpoints {
		all = append(all, e)
	}
	return all
}

// Endpoints returns the state of every endpoint that a table names.
func (r *Registry) Endpoints() []EndpointStatus {
	all := r.all()
	status := make([]EndpointStatus, len(all))
	for i, e := range all {
		status[i] = e.Status()
	}
	return status
}

// Acquire returns the Endpoint of t, making it when it is new. Each Acquire
// needs one Release.
func (r *Registry) Acquire(t Target) *Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoints[t]
	if e == nil {
		e = &Endpoint{target: t, registry: r, dialer: &r.dialer, hash: hashOf(t.Instance, t.Address)}
		e.transport = r.options.Transport(e, Keeping{Timeout: r.options.IdleTimeout, Most: r.options.MaxIdle})
		e.since.Set(time.Now())
		r.enlist(e)
		r.endpoints[t] = e
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
		r.strike(e)
	}
	r.mu.Unlock()
	if last {
		e.leave()
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
	if s, ok := e.reached(from, time.Now()); ok && s == Ready {
		r.logState(e, "instance is ready", nil)
	}
}

func (r *Registry) logState(e *Endpoint, message string, err error) {
	attrs := []any{"address", e.target.Address, "alloc", e.target.Instance}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	r.options.Logger.Debug(message, attrs...)
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
