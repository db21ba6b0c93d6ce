package admin

import (
	"context"
	"sync"
	"time"

	"serai/internal/pace"
	"serai/router"
)

const (
	// pulseEvery is how often traffic is measured, pulses how many measurements are kept:
	// those of ten minutes.
	pulseEvery = 5 * time.Second
	pulses     = 120
)

// Rate is the traffic of one moment: that of the seconds before it.
type Rate struct {
	// Requests and Errors, which are answers of 5xx, are per second.
	Requests float64 `json:"requests_per_second"`
	Errors   float64 `json:"errors_per_second"`
	// P50 and P99 are in milliseconds, to the end of the answer; 0 when there was no
	// request.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// Sample is the traffic of all routes at one moment.
type Sample struct {
	Time time.Time `json:"time"`
	Rate
	Inflight int64 `json:"in_flight"`
}

// counts is what the counters of a route said.
type counts struct {
	requests, errors uint64
	buckets          [len(router.DurationBounds) + 1]uint64
}

func (c *counts) add(o *counts) {
	c.requests += o.requests
	c.errors += o.errors
	for i, n := range o.buckets {
		c.buckets[i] += n
	}
}

// since returns what has come since old.
func (c counts) since(old counts) counts {
	c.requests -= old.requests
	c.errors -= old.errors
	for i, n := range old.buckets {
		c.buckets[i] -= n
	}
	return c
}

// pulse measures traffic. It reads the counters that requests write, and takes no lock that
// a request takes.
type pulse struct {
	mu      sync.Mutex
	last    map[*router.Stats]counts
	at      time.Time
	rates   map[*router.Stats]Rate // never modified once here
	samples []Sample
}

// Run measures traffic until ctx ends, for the pages and the API.
func (a *Admin) Run(ctx context.Context) error {
	for {
		began := time.Now()
		took := a.pulse.measure(began, a.options.Router.Current().Routes())
		a.forgetListing()
		// Of a hundred thousand routes this takes long: at most a half percent of one processor.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(pulseEvery, 200*took)):
		}
	}
}

// measure compares the counters with those of the last time. It returns how long it had the processor.
func (p *pulse) measure(now time.Time, routes []*router.Route) time.Duration {
	began := time.Now()
	p.mu.Lock()
	last, seconds := p.last, now.Sub(p.at).Seconds()
	p.mu.Unlock()
	next, rates := make(map[*router.Stats]counts), make(map[*router.Stats]Rate)
	seen := make(map[*router.Stats]bool)
	var all counts
	inflight := int64(0)
	var step pace.Pace
	for _, r := range routes {
		if step.Step(); !r.Stats.Called() || seen[r.Stats] {
			continue
		}
		seen[r.Stats] = true
		c, flying := countsOf(r.Stats)
		inflight += flying
		next[r.Stats] = c
		if new := c.since(last[r.Stats]); last != nil && new.requests > 0 {
			rates[r.Stats] = new.rate(seconds)
			all.add(&new)
		}
	}
	took := time.Since(began) - step.Waited()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.at, p.rates = next, now, rates
	if last == nil {
		return took // there is nothing to compare with
	}
	if len(p.samples) == pulses {
		p.samples = p.samples[:copy(p.samples, p.samples[1:])]
	}
	p.samples = append(p.samples, Sample{Time: now.UTC().Truncate(time.Millisecond), Rate: all.rate(seconds), Inflight: inflight})
	return took
}

// countsOf reads the counters of a route, and how many of its requests are in flight.
func countsOf(s *router.Stats) (counts, int64) {
	n := s.Snapshot()
	return counts{requests: n.Requests(), errors: n.Classes[5], buckets: n.Buckets}, n.Inflight
}

// rate is what was counted within some seconds.
func (c *counts) rate(seconds float64) Rate {
	if seconds <= 0 {
		return Rate{}
	}
	return Rate{
		Requests: round(float64(c.requests) / seconds), Errors: round(float64(c.errors) / seconds),
		P50: round(1000 * c.quantile(.5)), P99: round(1000 * c.quantile(.99)),
	}
}

// quantile returns the duration in seconds that this share of the requests did not exceed. As
// a bucket has only a count, it is interpolated; what is longer than all bounds is the last one.
func (c *counts) quantile(share float64) float64 {
	total := uint64(0)
	for _, n := range c.buckets {
		total += n
	}
	rest, low := share*float64(total), 0.0
	for i, bound := range router.DurationBounds {
		n := float64(c.buckets[i])
		if n > 0 && rest <= n {
			return low + (bound-low)*rest/n
		}
		rest, low = rest-n, bound
	}
	if total == 0 {
		return 0
	}
	return low
}

// round keeps what people can read: three digits after the point.
func round(v float64) float64 { return float64(int64(v*1000+.5)) / 1000 }

// all returns the rates of all routes that are called.
func (p *pulse) all() map[*router.Stats]Rate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rates
}

// recent returns the samples, the oldest first.
func (p *pulse) recent() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Sample{}, p.samples...)
}

// now returns the last sample.
func (p *pulse) now() (s Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.samples); n > 0 {
		s = p.samples[n-1]
	}
	return s
}
