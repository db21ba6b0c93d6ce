package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// What hangs on a file cannot be stopped: a FIFO that nobody writes to, a mount
// whose server is gone. A stop waits so long for it, and then leaves it behind:
// at the start, and at the end for what parts still have to tell others.
const (
	startEnds = 2 * time.Second
	partsEnd  = 15 * time.Second
)

// orStopped does something of the start that may hang.
func orStopped[T any](ctx context.Context, what string, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-time.After(startEnds):
		var none T
		return none, fmt.Errorf("stopped while serai had not %s: a file or directory of the settings hangs", what)
	}
}

// parts are the goroutines of a running system, by name.
type parts struct {
	mu      sync.Mutex
	running map[string]int
	ended   sync.Cond
}

func newParts() *parts {
	p := &parts{running: make(map[string]int)}
	p.ended.L = &p.mu
	return p
}

// start runs one.
func (p *parts) start(name string, part func()) {
	p.mu.Lock()
	p.running[name]++
	p.mu.Unlock()
	go func() {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.running[name]--; p.running[name] == 0 {
				delete(p.running, name)
			}
			p.ended.Broadcast()
		}()
		part()
	}()
}

// wait waits until all have ended, or long enough, and names those that have not.
func (p *parts) wait(enough time.Duration) (left string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	over := false
	timer := time.AfterFunc(enough, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		over = true
		p.ended.Broadcast()
	})
	defer timer.Stop()
	for len(p.running) > 0 && !over {
		p.ended.Wait()
	}
	return strings.Join(slices.Sorted(maps.Keys(p.running)), ", ")
}
