package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
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

// In a turn few requests make the 99th percentile, so two kinds of turns differ by chance, too. That is why there are two
// without pages: they tell how much.
const (
	withoutPages = "no pages"
	likewise     = "no pages, once more"
)

// pages measures what the admin's pages take of a large table, and requests beside them, in
// turns with requests alone.
func pages(a *arena) error {
	const services, rounds, greedyRounds, lasts = 10_000, 16, 4, 4 * time.Second
	if err := a.registerMany(services, 3); err != nil {
		return err
	}
	usual := ask{url: "http://" + a.address() + "/bytes/1000", conns: 8, rate: 500, lasts: lasts}
	turns, took := make(map[string][]seen), make(map[string]map[string][]time.Duration)
	for round := range rounds {
		kinds := []pagesOfAdmin{{name: withoutPages}, {name: likewise}}
		for _, o := range operators {
			if o.usual || round < greedyRounds {
				kinds = append(kinds, o)
			}
		}
		rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] }) // a turn leaves something to the next
		for _, o := range kinds {
			s, times, err := a.beside(o, usual)
			if err != nil {
				return err
			}
			turns[o.name] = append(turns[o.name], s)
			if took[o.name] == nil {
				took[o.name] = make(map[string][]time.Duration)
			}
			for path, all := range times {
				took[o.name][path] = append(took[o.name][path], all...)
			}
		}
	}
	usually, again := figureOf(turns[withoutPages], p99), figureOf(turns[likewise], p99)
	a.see("%d routes, %d instances, resident %.0f MiB; %.0f requests a second without pages, median of %d turns: p50 %v, p99 %v",
		services, 3*services, mib(a.rss()), usual.rate, rounds, figureOf(turns[withoutPages], p50), usually)
	a.see("the same once more: p99 %v, %.2f of it, which is chance", again, again.median/usually.median)
	for _, o := range operators {
		beside := figureOf(turns[o.name], p99)
		times := beside.median / usually.median
		a.see("beside %s: p50 %v, p99 %v, %.2f of without", o.name, figureOf(turns[o.name], p50), beside, times)
		for _, s := range turns[o.name] {
			if s.Failed > 0 {
				a.broken("%d requests failed beside %s: %s", s.Failed, o.name, s.Cause)
			}
		}
		for _, path := range o.paths {
			all := took[o.name][path]
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
		if o.usual && times > 2 {
			a.broken("p99 beside %s is %.1f times as long as without", o.name, times)
		}
	}
	return nil
}

// beside is one turn: requests, and what o does at the same time.
func (a *arena) beside(o pagesOfAdmin, usual ask) (seen, map[string][]time.Duration, error) {
	ctx, end := context.WithCancel(a.ctx)
	times := make(chan map[string][]time.Duration, 1)
	go func() { times <- a.operate(ctx, o) }()
	s, err := generate(a.ctx, usual)
	end()
	return s, <-times, err
}

func p50(s seen) float64 { return s.P50 }
func p99(s seen) float64 { return s.P99 }

// figure is a value of some turns: the least, the median and the most.
type figure struct{ least, median, most float64 }

func figureOf(turns []seen, value func(seen) float64) figure {
	var all []float64
	for _, s := range turns {
		all = append(all, value(s))
	}
	slices.Sort(all)
	return figure{all[0], (all[(len(all)-1)/2] + all[len(all)/2]) / 2, all[len(all)-1]}
}

func (f figure) String() string {
	return fmt.Sprintf("%.0f us (%.0f to %.0f)", f.median, f.least, f.most)
}

// operate does what o does until ctx ends, and returns how long each answer took.
func (a *arena) operate(ctx context.Context, o pagesOfAdmin) map[string][]time.Duration {
	var running sync.WaitGroup
	defer running.Wait()
	for _, path := range o.follows {
		running.Go(func() { a.fetch(ctx, path+"?follow=1") })
	}
	took := make(map[string][]time.Duration)
	for n := 0; ctx.Err() == nil && len(o.paths) > 0; n++ {
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
