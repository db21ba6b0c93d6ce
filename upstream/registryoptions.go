package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"
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
	// RepeatableIdle is the same for requests that may be repeated (Keeping); no less than
	// IdleTimeout.
	RepeatableIdle time.Duration
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
	// Mesh is serai's place in Consul's mesh; nil where there is none.
	Mesh Mesh
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
	o.RepeatableIdle = max(o.RepeatableIdle, o.IdleTimeout)
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

// probesAtOnce is the number of normal probes at once: together with urgent and slow
// ones they use the eighth of the connections that requests do not use, and no more.
func (o *RegistryOptions) probesAtOnce() int {
	if o.MaxConns == 0 {
		return o.Probes
	}
	return min(o.Probes, max(1, o.MaxConns/8/(2+slowShare)))
}
