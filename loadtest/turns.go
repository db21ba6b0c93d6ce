package main

import (
	"context"
	"syscall"
	"time"
)

// turnOf returns how long one of n proxies is under load before the next one is, over
// that many connections. Disturbances of a machine, above all by other machines on the
// same processor, come and go within a second and make a request cost half as much
// again. In short turns they affect all proxies alike, and the ratio stays the same.
// Shorter turns would measure how caches are filled: each connection has about ten
// requests in a turn. No connection is silent for a second, after which serai would
// take it for idle.
func turnOf(n, conns int) time.Duration {
	const few, turn, longest, silent = 100, 150 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond
	if conns <= few {
		return turn
	}
	return min(longest, silent/time.Duration(max(1, n-1)))
}

// takeTurns runs generators in turns; each has run for whole at the end. Their
// connections stay open while others have their turns. It returns what each one saw,
// with the time in which it ran as Seconds.
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

// turnTaker is a generator that is stopped except in its turns.
type turnTaker struct {
	*generator
	active time.Duration
	ended  bool
}

func (t *turnTaker) signal(s syscall.Signal) { t.cmd.Process.Signal(s) }

// take runs it for one turn.
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

// finish runs it to its end, which is near.
func (t *turnTaker) finish() (seen, error) {
	began := time.Now()
	t.signal(syscall.SIGCONT)
	s, err := t.wait()
	t.ended = true
	t.active += time.Since(began)
	s.Seconds = t.active.Seconds()
	return s, err
}

// abandon kills it if it has not ended.
func (t *turnTaker) abandon() {
	if t.cmd.Process != nil && !t.ended {
		t.cmd.Process.Kill()
		t.wait()
	}
}
