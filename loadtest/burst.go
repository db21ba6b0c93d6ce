package main

import (
	"context"
	"fmt"
	"time"
)

// burstLasts is the part of a burst that is measured: at its start a proxy must make
// the state of all clients while they wait.
const burstLasts = 2 * time.Second

// burst measures one proxy after the other. The generator is a new process for each, all of
// whose connections begin at once.
func burst(ctx context.Context, peers []*peer, b *bench) ([]measured, error) {
	all := make([]measured, len(peers))
	for i, p := range peers {
		a := b.askOf(p)
		a.lasts = burstLasts
		before := p.usage()
		s, err := generate(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.kind.name, err)
		}
		if s.Requests == 0 {
			return nil, fmt.Errorf("%s: no request was answered: %s", p.kind.name, s.Cause)
		}
		after := p.usage()
		all[i] = measured{
			Rate: float64(s.Requests) / s.Seconds, CPU: float64((after.cpu - before.cpu).Microseconds()) / float64(s.Requests),
			RSS: float64(after.rss), Failed: s.Failed, P99: s.P99,
		}
	}
	return all, nil
}
