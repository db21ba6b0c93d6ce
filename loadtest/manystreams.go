package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// manyStreams keeps many streams open, each of which brings a message of 1 KiB every
// ten seconds. It measures their memory, and whether all survive a minute in which
// another service is deployed again and again.
func manyStreams(a *arena) error {
	const perConnection, lasts, every, size = 100, time.Minute, 10 * time.Second, 1 << 10
	n := a.options.Streams
	before, used := a.rss(), usageOf(a.pid()).cpu
	calls, err := newGRPCClient(entrance{plain: a.address()}, "web.loadtest", max(1, n/perConnection))
	if err != nil {
		return err
	}
	defer calls.close()
	open := startStreams(a.ctx, calls.channels, n, every, strings.Repeat("x", size))
	defer open.end()
	if err := open.await(a.ctx, n); err != nil {
		return err
	}
	opened := usageOf(a.pid()).cpu
	time.Sleep(15 * time.Second) // what opening them took is given back
	rss := a.rss()
	a.see("%d streams of gRPC over %d connections: %.1f KiB each, resident %.1f MiB; %.0f us of CPU to open one",
		n, len(calls.channels), float64(rss-before)/1024/float64(n), mib(rss), float64((opened-used).Microseconds())/float64(n))
	deploys := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); deploys++ {
		if err := redeployOther(a); err != nil {
			return err
		}
	}
	rss = a.rss()
	seen := open.end()
	a.see("another service was deployed %d times in %v: %v; then %.1f KiB each, resident %.1f MiB",
		deploys, lasts, seen, float64(rss-before)/1024/float64(n), mib(rss))
	if ended := seen.ended(); ended > 0 || len(seen.Failed) > 0 {
		a.broken("%d of %d streams ended", ended, n)
	}
	if least := n * int(lasts/every); seen.Messages < least {
		a.broken("%d messages came, less than %d", seen.Messages, least)
	}
	return nil
}

// await waits until so many messages have come.
func (s *streams) await(ctx context.Context, messages int) error {
	for end := time.Now().Add(2 * time.Minute); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		seen := s.seen.Messages
		s.mu.Unlock()
		if seen >= messages {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("only %d of %d streams have brought a message", seen, messages)
		}
	}
	return ctx.Err()
}

// redeployOther replaces the instance of another service.
func redeployOther(a *arena) error {
	i, err := a.start("other", "ingress.host=other.loadtest")
	if err != nil {
		return err
	}
	defer a.stop(i)
	if err := a.nodes[0].await(a.ctx, "other.loadtest", "/"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	return nil
}
