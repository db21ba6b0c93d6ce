package main

import (
	"context"
	"syscall"
	"time"
)

// turnOf returns how long one of n proxies is under load before the next one is,
// over so many connections. What disturbs a machine, other machines on the same
// processor above all, comes and goes within a second and makes the same request
// cost half as much again: in short turns it meets all proxies alike, and their
// ratio stays what it is. Shorter ones would measure how caches are filled: each
// connection has about ten requests in a turn. No connection is silent for as
// long as a second, after which serai takes it for idle.
func turnOf(n, conns int) time.Duration {
	const few, turn, longest, silent = 100, 150 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond
	if conns <= few {
		return turn
	}
	return min(longest, silent/time.Duration(max(1, n-1)))
}

// takeTurns runs generators that last as long as whole, in turns so long: their
// connections stay while others have theirs. It returns what each one saw, with
// the time in which it was under way as Seconds.
func takeTurns(ctx context.Context, generators []*generator, whole, turn time.Duration) ([]seen, error) {
	all := make([]*turnTaker, len(generators))
	for i, g := range generators {
		all[i] = &turnTaker{generator: g}
		defer all[i].abandon()
	}
	for end := time.Now().Add(whole); time.Now().Before(end); {
		for _, t := range all {
			if err := t.take(ctx, turn); err != nil {
				return nil, err
			}
		}
	}
	result := make([]seen, len(all))
	for i, t := range all {
		var err error
		if result[i], err = t.finish(); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// turnTaker is a generator that is stopped but for its turns.
type turnTaker struct {
	*generator
	active time.Duration
	ended  bool
}

func (t *turnTaker) signal(s syscall.Signal) { t.cmd.Process.Signal(s) }

// take lets it go for one turn.
func (t *turnTaker) take(ctx context.Context, turn time.Duration) error {
	began := time.Now()
	if t.cmd.Process == nil {
		if err := t.cmd.Start(); err != nil {
			return err
		}
	} else {
		t.signal(syscall.SIGCONT)
	}
	select {
	case <-time.After(turn):
	case <-ctx.Done():
		return ctx.Err()
	}
	t.signal(syscall.SIGSTOP)
	t.active += time.Since(began)
	return nil
}

// finish lets it go to its end, which is near.
func (t *turnTaker) finish() (seen, error) {
	began := time.Now()
	t.signal(syscall.SIGCONT)
	s, err := t.wait()
	t.ended = true
	t.active += time.Since(began)
	s.Seconds = t.active.Seconds()
	return s, err
}

// abandon ends it where it has not come to its end.
func (t *turnTaker) abandon() {
	if t.cmd.Process != nil && !t.ended {
		t.cmd.Process.Kill()
		t.wait()
	}
}
