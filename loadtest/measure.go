package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// measureAll runs benches in rounds, in each of which the proxies take turns.
func (c *compareCommand) measureAll(ctx context.Context, kinds []found, s setting, list []bench, r *report) error {
	if len(list) == 0 {
		return nil
	}
	var peers []*peer
	for i := range kinds {
		p, err := startPeer(ctx, &kinds[i].kind, kinds[i].binary, s)
		if err != nil {
			return err
		}
		defer p.stop()
		peers = append(peers, p)
	}
	for _, p := range peers {
		if err := p.settle(ctx); err != nil {
			return err
		}
		p.findUnable(list)
	}
	for round := range c.Rounds {
		for i := range list {
			b := &list[i]
			for _, group := range b.groups(peers, round) {
				all, err := c.measure(ctx, group, b, round < c.Latencies, r)
				if err != nil && ctx.Err() == nil { // once more: the next rounds are worth it
					fmt.Fprintf(os.Stderr, "%s: %v\n", b.name, err)
					all, err = c.measure(ctx, group, b, round < c.Latencies, r)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
				for n, m := range all {
					name := group.peers[n].kind.name
					fmt.Fprintf(os.Stderr, "round %d of %d  %-50s %-8s %9.0f /s  %8.1f us CPU  %d failed\n", round+1, c.Rounds, b.name, name, m.Rate, m.CPU, m.Failed)
					switch {
					case !group.far:
						r.add(b, name, m, nil)
					case name != "serai":
						r.add(b, name, m, &all[0])
					}
				}
			}
		}
	}
	return nil
}

// turnGroup is a group of proxies that take turns. In a far group serai is the first.
type turnGroup struct {
	peers []*peer
	far   bool
}

// groups returns the proxies that can be measured in two groups: serai with the proxies
// near to it, which the targets are about, and serai with the others. Their order
// changes from round to round.
func (b *bench) groups(peers []*peer, round int) []turnGroup {
	near, far := turnGroup{}, turnGroup{far: true}
	for n := range peers {
		p := peers[(n+round)%len(peers)]
		switch {
		case !b.can(p.kind), p.unable[b.name]:
		case p.kind.near:
			near.peers = append(near.peers, p)
		default:
			far.peers = append(far.peers, p)
		}
	}
	if len(far.peers) == 0 {
		return []turnGroup{near}
	}
	serai := slices.IndexFunc(near.peers, func(p *peer) bool { return p.kind.name == "serai" })
	far.peers = slices.Insert(far.peers, 0, near.peers[serai])
	return []turnGroup{near, far}
}

// measured is one proxy under one load.
type measured struct {
	Rate   float64 `json:"per_second"`
	CPU    float64 `json:"cpu_us"` // of the proxy, per request
	RSS    float64 `json:"rss_bytes"`
	Failed int64   `json:"failed"`
	P99    float64 `json:"p99_us,omitempty"` // of a burst
	// Latencies are at parts of Rate, in the order of loads, in the rounds that
	// measure them.
	Latencies []latency `json:"latencies,omitempty"`
}

// loads are the rates at which latencies are measured, as parts of each proxy's
// maximum.
var loads = [...]float64{0.5, 0.8}

// latency is how long requests took at a rate.
type latency struct {
	Rate float64 `json:"per_second"`
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

// measure loads the proxies in turns, and then each one at rates that it can
// keep, where latencies are asked for.
func (c *compareCommand) measure(ctx context.Context, group turnGroup, b *bench, latencies bool, r *report) ([]measured, error) {
	if b.burst {
		return burst(ctx, group.peers, b)
	}
	peers := group.peers
	generators, before := make([]*generator, len(peers)), make([]usage, len(peers))
	whole := c.For * time.Duration(len(peers))
	for i, p := range peers {
		a := b.askOf(p)
		a.lasts = whole
		var err error
		if generators[i], err = generatorFor(ctx, a); err != nil {
			return nil, err
		}
		before[i] = p.usage()
	}
	all, err := takeTurns(ctx, generators, whole, turnOf(len(peers), b.ask.conns))
	if err != nil {
		return nil, err
	}
	result := make([]measured, len(peers))
	for i, p := range peers {
		s, after, m := all[i], p.usage(), &result[i]
		if b.count(s) == 0 {
			return nil, fmt.Errorf("%s: no request was answered: %s", p.kind.name, s.Cause)
		}
		*m = measured{
			Rate: b.count(s) / s.Seconds, CPU: float64((after.cpu - before[i].cpu).Microseconds()) / b.count(s),
			RSS: float64(after.rss), Failed: s.Failed,
		}
	}
	if !latencies {
		return result, nil
	}
	for i, p := range peers {
		if group.far && i == 0 {
			continue // serai, whose latencies are measured with the near ones
		}
		for _, load := range loads {
			m, a := &result[i], b.askOf(p)
			a.lasts, a.rate = c.For, min(m.Rate*load, r.LatencyRate)
			s, err := generate(ctx, a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.kind.name, err)
			}
			m.Latencies = append(m.Latencies, latency{a.rate, s.P50, s.P99, s.P999})
			m.Failed += s.Failed
		}
	}
	return result, nil
}
