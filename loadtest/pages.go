package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"serai/nomad"
)

// pagesOfAdmin is who looks at the admin's pages: each follows one, as a browser with the
// dashboard does, and every pause another path is asked for, without pause if it is 0.
type pagesOfAdmin struct {
	name    string
	follows []string
	paths   []string
	pause   time.Duration
	// usual says that this is what happens every day: requests beside it take twice as long at
	// most (p99), and each page 100 ms.
	usual bool
}

// operators look at the dashboard as people do; the others ask as fast as they are answered.
var operators = []pagesOfAdmin{
	{"three operators, and Prometheus", []string{"/ui/overview", "/ui/routes", "/ui/instances"}, []string{"/ui/routes?q=service-7", "/api/v1/routes", "/ui/route?host=service-7.loadtest", "/metrics"}, time.Second, true},
	{"a page of 1,000 routes after the other", nil, []string{"/ui/routes?limit=1000"}, 0, false},
	{"1,000 instances after the other", nil, []string{"/api/v1/instances?limit=1000"}, 0, false},
	{"a scrape after the other", nil, []string{"/metrics"}, 0, false},
}

// pages measures what the admin's pages take of a large table, and requests beside them, in
// turns with requests alone.
func pages(a *arena) error {
	const services, rounds, lasts = 10_000, 6, 8 * time.Second
	if err := a.registerMany(services, 3); err != nil {
		return err
	}
	usual := ask{url: "http://" + a.address() + "/bytes/1000", conns: 8, rate: 250, lasts: lasts}
	var alone []seen
	beside, took := make([][]seen, len(operators)), make([]map[string][]time.Duration, len(operators))
	for range rounds {
		s, err := generate(a.ctx, usual)
		if err != nil {
			return err
		}
		alone = append(alone, s)
		for i, o := range operators {
			ctx, end := context.WithTimeout(a.ctx, lasts)
			times := make(chan map[string][]time.Duration, 1)
			go func() { times <- a.operate(ctx, o) }()
			s, err := generate(a.ctx, usual)
			end()
			if took[i] == nil {
				took[i] = map[string][]time.Duration{}
			}
			for path, all := range <-times {
				took[i][path] = append(took[i][path], all...)
			}
			if err != nil {
				return err
			}
			beside[i] = append(beside[i], s)
		}
	}
	p99 := func(s seen) float64 { return s.P99 }
	p50 := func(s seen) float64 { return s.P50 }
	usually, worst := median(alone, p99), slices.MaxFunc(alone, func(a, b seen) int { return int(a.P99 - b.P99) }).P99
	a.see("%d routes, %d instances, resident %.0f MiB; %.0f requests a second without pages, median of %d rounds: p50 %.0f us, p99 %.0f us (at most %.0f)",
		services, 3*services, mib(a.rss()), usual.rate, rounds, median(alone, p50), usually, worst)
	for i, o := range operators {
		now := median(beside[i], p99)
		a.see("beside %s: p50 %.0f us, p99 %.0f us, %.2f of without", o.name, median(beside[i], p50), now, now/usually)
		for _, s := range beside[i] {
			if s.Failed > 0 {
				a.broken("%d requests failed beside %s: %s", s.Failed, o.name, s.Cause)
			}
		}
		for _, path := range o.paths {
			all := took[i][path]
			slices.Sort(all)
			if len(all) == 0 {
				a.broken("%s was never answered", path)
				continue
			}
			a.see("  %s: %d times, p50 %v, p90 %v", path, len(all), percentile(all, 50).Round(time.Millisecond), percentile(all, 90).Round(time.Millisecond))
			if p := percentile(all, 50); o.usual && path != "/metrics" && p > 100*time.Millisecond {
				a.broken("%s takes %v, more than 100 ms", path, p)
			}
		}
		if o.usual && now > 2*usually {
			a.broken("p99 beside %s is %.1f times as long as without", o.name, now/usually)
		}
	}
	return nil
}

// median is that of a value of what was seen.
func median(all []seen, value func(seen) float64) float64 {
	var values []float64
	for _, s := range all {
		values = append(values, value(s))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// operate does what o does until ctx ends, and returns how long each answer took.
func (a *arena) operate(ctx context.Context, o pagesOfAdmin) map[string][]time.Duration {
	var running sync.WaitGroup
	defer running.Wait()
	for _, path := range o.follows {
		running.Go(func() { a.fetch(ctx, path+"?follow=1") })
	}
	took := make(map[string][]time.Duration)
	for n := 0; ctx.Err() == nil; n++ {
		path := o.paths[n%len(o.paths)]
		began := time.Now()
		if a.fetch(ctx, path) {
			took[path] = append(took[path], time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(o.pause):
		}
	}
	return took
}

// fetch reads an answer of the admin to its end, and reports whether it is whole and good.
func (a *arena) fetch(ctx context.Context, path string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.admin+path, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// registerMany registers services of so many instances each, which are ready but get no
// requests, and waits until serai has probed all of them.
func (a *arena) registerMany(services, instances int) error {
	address, err := serveReady(a.ctx)
	if err != nil {
		return err
	}
	var regs []nomad.Registration
	for i := range services {
		// A namespace may have 10,000 claims, and there is one service more.
		namespace := fmt.Sprintf("tenant-%d", i%2)
		a.sim.CreateNamespace(namespace)
		for j := range instances {
			r := numbered(i, j, address)
			r.Namespace = namespace
			regs = append(regs, r)
		}
		if len(regs) >= 1000 || i == services-1 {
			a.sim.Register(regs...)
			regs = regs[:0]
		}
	}
	for began := time.Now(); ; time.Sleep(time.Second) {
		switch page := a.adminPage("/api/v1/instances?state=ready&limit=1"); {
		case a.ctx.Err() != nil:
			return a.ctx.Err()
		case strings.Contains(page, fmt.Sprintf(`"total": %d`, services*instances+1)):
			return nil
		case time.Since(began) > 5*time.Minute:
			return fmt.Errorf("not all instances are ready: %.200s", page)
		}
	}
}
