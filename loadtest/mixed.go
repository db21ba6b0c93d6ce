package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// visitor is one kind of client of the mixed load. It uses one connection to
// address, and returns how many requests it sent whose head was complete.
type visitor struct {
	name  string
	every time.Duration // one begins this often
	visit func(address string) (requests int, err error)
}

func visitors() []visitor {
	return []visitor{
		{"small requests", 20 * time.Millisecond, smallRequests},
		{"pipelined", 100 * time.Millisecond, pipelined},
		{"posts of 20 KiB", 50 * time.Millisecond, func(a string) (int, error) { return 1, echoed(a, 1, 20<<10) }},
		{"posts of 2 MiB", 250 * time.Millisecond, func(a string) (int, error) { return 1, echoed(a, 2, 2<<20) }},
		{"chunked", 100 * time.Millisecond, chunkedEcho},
		{"WebSocket", 100 * time.Millisecond, webSocket},
		{"leaves during an answer", 100 * time.Millisecond, leaves("GET /bytes/100000000 HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", 1, 10_000)},
		{"leaves while it waits", 200 * time.Millisecond, leaves("GET /slow?wait=5s HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", 1, 0)},
		{"leaves in a body", 100 * time.Millisecond, leaves("POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 100000\r\n\r\nsome", 1, 0)},
		{"leaves in a head", 100 * time.Millisecond, leaves("GET / HTTP/1.1\r\nHost: web.l", 0, 0)},
		{"malformed", 200 * time.Millisecond, malformed},
	}
}

// tallied is what one kind of visitor saw.
type tallied struct {
	visits, requests, failed int
	causes                   map[string]int
}

// mixed is the state of a mixed load.
type mixed struct {
	*arena
	mu      sync.Mutex // of counts
	counts  map[string]*tallied
	deploys int
	memory  []int64 // resident, every ten seconds

	// Before the load.
	requests, goroutines float64
	files                int
}

// mixedLoad runs all visitors for a long time while instances change, and then looks
// for what is left over.
func mixedLoad(a *arena) error {
	for range 2 {
		if err := a.add(host); err != nil {
			return err
		}
	}
	m := &mixed{arena: a, counts: make(map[string]*tallied)}
	ctx, end := context.WithTimeout(a.ctx, a.options.For)
	defer end()
	time.Sleep(2 * time.Second)
	m.requests = a.metric("serai_requests_total") // those that waited for the start
	m.goroutines, m.files = a.metric("go_goroutines"), a.descriptors()
	a.see("before: %.0f goroutines, %d descriptors, resident %.1f MiB", m.goroutines, m.files, mib(a.rss()))
	m.run(ctx)
	// Idle connections to instances are kept for 4 s and given up within 2.
	time.Sleep(8 * time.Second)
	m.judgeVisits()
	m.judgeRest()
	return nil
}

// run has the visitors come, replaces instances and measures the memory until ctx ends.
func (m *mixed) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, v := range visitors() {
		t := &tallied{causes: make(map[string]int)}
		m.counts[v.name] = t
		running.Go(func() {
			for ctx.Err() == nil {
				running.Go(func() { m.visit(v, t) })
				time.Sleep(v.every)
			}
		})
	}
	running.Go(func() {
		for ctx.Err() == nil {
			if m.add(host) == nil {
				time.Sleep(time.Second)
				m.remove()
				m.deploys++
			}
			time.Sleep(time.Second)
		}
	})
	for minute := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
		m.memory = append(m.memory, m.rss())
		if len(m.memory)%6 == 0 {
			minute++
			fmt.Printf("  minute %d: %.0f requests, %.0f goroutines, %d descriptors, resident %.1f MiB\n",
				minute, m.metric("serai_requests_total"), m.metric("go_goroutines"), m.descriptors(), mib(m.memory[len(m.memory)-1]))
		}
	}
	running.Wait()
}

// visit makes one visit and counts it.
func (m *mixed) visit(v visitor, t *tallied) {
	n, err := v.visit(m.address())
	m.mu.Lock()
	defer m.mu.Unlock()
	t.visits++
	t.requests += n
	if err != nil {
		t.failed++
		t.causes[err.Error()]++
	}
}

// judgeVisits looks for visits that failed, and requests that serai has not counted.
func (m *mixed) judgeVisits() {
	sent := 0
	for _, v := range visitors() {
		t := m.counts[v.name]
		sent += t.requests
		line := fmt.Sprintf("%-24s %7d visits, %8d requests, %d failed", v.name, t.visits, t.requests, t.failed)
		for cause, n := range t.causes {
			line += fmt.Sprintf("; %d x %s", n, cause)
		}
		m.see("%s", line)
		if t.failed > 0 {
			m.broken("%s: %d failed", v.name, t.failed)
		}
	}
	counted := int(m.metric("serai_requests_total") - m.requests)
	m.see("%d instances replaced; sent %d requests, counted %d; in flight %.0f", m.deploys, sent, counted, m.metric("serai_requests_in_flight"))
	if counted != sent {
		m.broken("serai counts %d requests, %d were sent", counted, sent)
	}
}

// judgeRest looks for goroutines, descriptors and memory that are left over.
func (m *mixed) judgeRest() {
	goroutines, files := m.metric("go_goroutines"), m.descriptors()
	third := max(1, len(m.memory)/3)
	early, late := middle(m.memory[:third]), middle(m.memory[len(m.memory)-third:])
	m.see("after: %.0f goroutines, %d descriptors, resident %.1f MiB; median of the first third %.1f MiB, of the last %.1f MiB",
		goroutines, files, mib(m.rss()), mib(early), mib(late))
	// One connection of ours asks for the metrics.
	if goroutines > m.goroutines+5 {
		m.broken("goroutines are left over: %.0f, before %.0f", goroutines, m.goroutines)
	}
	if files > m.files+3 {
		m.broken("descriptors are left over: %d, before %d", files, m.files)
	}
	if late > early*13/10 {
		m.broken("memory grows")
	}
}

func middle(all []int64) int64 { return slices.Sorted(slices.Values(all))[len(all)/2] }
