package discovery

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"serai/consul"
)

// ConsulOptions are the options of a Consul source. Zero values mean the defaults given
// here.
type ConsulOptions struct {
	// Client talks to Consul. Required.
	Client *consul.Client
	// Prefix is the prefix of our tags, "ingress".
	Prefix string
	// Address is the name of the tagged address at which instances are reached, such as
	// wan; empty means the service's own, or else the node's.
	Address string
	// Warning has instances with a warning take requests, too.
	Warning bool
	// Initial is served until Consul has answered, nil for nothing.
	Initial *Snapshot
	// Watches is how many services are waited for with a query each, 128: an agent accepts
	// 200 connections of one client. What is beyond is read again when anything in the
	// catalog changes.
	Watches int
	// Wait is how long the agent holds a query for which there is nothing new; 0 means
	// from 1m to 5m, by what it costs. Each wait varies by up to
	// a fifth.
	Wait time.Duration
	// Ping is how often the agent is asked whether it still answers, 15s, give or take a
	// fifth.
	Ping time.Duration
	// Hold is how long nothing is removed after Consul's index went back, 10m.
	Hold time.Duration
	// Store bounds what is kept; nil for no limit.
	Store *Store
	// Logger may be nil.
	Logger *slog.Logger
}

// Consul is the Source for Consul's catalog.
//
// It waits with one query for changes of the list of services, which has their tags, and
// with one query each for changes of those that carry ours. So it learns of each change by
// itself, and reads no more than what has changed. docs/decisions/0013 has what else there
// is, and what it costs.
type Consul struct {
	options ConsulOptions

	mu     sync.Mutex
	status Status
}

// NewConsul makes a Consul source.
func NewConsul(o ConsulOptions) (*Consul, error) {
	if o.Client == nil {
		return nil, errors.New("consul source: the client is missing")
	}
	o.Prefix = cmp.Or(o.Prefix, "ingress")
	o.Watches = cmp.Or(o.Watches, 128)
	o.Ping = cmp.Or(o.Ping, 15*time.Second)
	o.Hold = cmp.Or(o.Hold, 10*time.Minute)
	o.Store = cmp.Or(o.Store, NewStore(Bounds{}))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Consul{options: o, status: Status{Source: "consul", Phase: Starting, Since: time.Now()}}, nil
}

// Status returns the state of the source.
func (c *Consul) Status() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []Status{c.status}
}

func (c *Consul) set(change func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
}

// Run watches until ctx ends.
func (c *Consul) Run(ctx context.Context, out chan<- *Snapshot) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := c.newRun(ctx, &running)
	running.Go(func() { r.box.run(ctx, out) })
	r.begin()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case res := <-r.results:
			if res.ctx.Err() != nil {
				continue // of requests that were given up
			}
			res.then()
			if r.dirty {
				r.settleAlone()
			}
			r.drain()
			r.publish()
		}
	}
}
