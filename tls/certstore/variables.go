package certstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"serai/nomad"
)

// Variables keeps records in Nomad's Variables, below one prefix of one
// namespace.
type Variables struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespace is where they are; empty means "default".
	Namespace string
	// Prefix is what their paths begin with, without a slash at its end.
	// Required. serai's policy allows "serai".
	Prefix string
	// TTL is the lock's of the leader: another may lead after two of them, and
	// Delay, in which nothing was heard. 10s, which is the least that Nomad
	// takes, and 1s when zero.
	TTL, Delay time.Duration
	// Logger gets who leads; nil discards it.
	Logger *slog.Logger
}

func (v *Variables) path(path string) string { return v.Prefix + "/" + path }

// Get asks the leader of Nomad's servers.
func (v *Variables) Get(ctx context.Context, path string) (*Record, error) {
	found, _, err := v.Client.Variable(ctx, v.path(path), nomad.Query{Namespace: v.Namespace})
	if err != nil {
		return nil, known(err)
	}
	return &Record{Path: path, Items: found.Items, Version: found.ModifyIndex}, nil
}

// Read lets any of Nomad's servers answer, unless its answer is too old.
func (v *Variables) Read(ctx context.Context, path string, least uint64) (*Record, error) {
	if least < Newest {
		found, _, err := v.Client.Variable(ctx, v.path(path), nomad.Query{Namespace: v.Namespace, Stale: true})
		if err == nil && found.ModifyIndex >= least {
			return &Record{Path: path, Items: found.Items, Version: found.ModifyIndex}, nil
		}
		if err != nil && !errors.Is(err, nomad.ErrNotFound) {
			return nil, known(err)
		}
	}
	return v.Get(ctx, path)
}

// known makes our errors of Nomad's.
func known(err error) error {
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, nomad.ErrConflict):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// Put writes with check-and-set. After a write whose answer was lost only
// reading tells what became of it.
func (v *Variables) Put(ctx context.Context, path string, items map[string]string, version uint64) (uint64, error) {
	want := nomad.Variable{VariableMeta: nomad.VariableMeta{Namespace: v.Namespace, Path: v.path(path)}, Items: items}
	written, err := v.Client.PutVariableIf(ctx, want, version)
	if err != nil {
		return 0, known(err)
	}
	return written.ModifyIndex, nil
}

// Delete removes a variable.
func (v *Variables) Delete(ctx context.Context, path string) error {
	return known(v.Client.DeleteVariable(ctx, v.Namespace, v.path(path)))
}

// List lets any of Nomad's servers answer. What it answers may be older than
// what was written; then it is called again soon.
func (v *Variables) List(ctx context.Context, below string, index uint64) ([]Entry, uint64, error) {
	return v.list(ctx, below, nomad.Query{Index: index, Wait: time.Minute, Stale: true})
}

// ListNewest asks the leader of Nomad's servers.
func (v *Variables) ListNewest(ctx context.Context, below string) ([]Entry, error) {
	entries, _, err := v.list(ctx, below, nomad.Query{})
	return entries, err
}

func (v *Variables) list(ctx context.Context, below string, q nomad.Query) ([]Entry, uint64, error) {
	q.Namespace = v.Namespace
	list, meta, err := v.Client.Variables(ctx, v.path(below)+"/", q)
	if err != nil {
		return nil, 0, known(err)
	}
	entries := make([]Entry, 0, len(list))
	for _, m := range list {
		if path, ok := strings.CutPrefix(m.Path, v.Prefix+"/"); ok {
			entries = append(entries, Entry{path, m.ModifyIndex})
		}
	}
	return entries, max(meta.Index, 1), nil
}

// leaderPath is the variable that is locked. It holds nothing else than who
// holds it, because acquiring a lock overwrites what is there.
const leaderPath = "leader"

// Leader reads who holds the lock, or held it last.
func (v *Variables) Leader(ctx context.Context) (string, error) {
	found, _, err := v.Client.Variable(ctx, v.path(leaderPath), nomad.Query{Namespace: v.Namespace, Stale: true})
	if errors.Is(err, nomad.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return found.Items["holder"], nil
}

// Lead waits for the lock, holds it, and renews it.
func (v *Variables) Lead(ctx context.Context, name string, lead func(context.Context)) error {
	logger := v.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l := &lease{Variables: v, logger: logger, name: name}
	l.Variables = &Variables{
		Client: v.Client, Namespace: v.Namespace, Prefix: v.Prefix,
		TTL: cmp.Or(v.TTL, 10*time.Second), Delay: cmp.Or(v.Delay, time.Second),
	}
	wait := time.Second
	for ctx.Err() == nil {
		held, err := l.acquire(ctx)
		if err != nil {
			l.complain(ctx, err)
			pause(ctx, wait/2+rand.N(wait))
			wait = min(2*wait, longestWait)
			continue
		}
		l.complaint, wait = "", time.Second
		logger.Info("this serai orders certificates now", "leader", name)
		l.hold(ctx, held, lead)
		if ctx.Err() == nil {
			logger.Warn("this serai does not order certificates any more: the lock in Nomad was lost")
		}
	}
	return ctx.Err()
}

// longestWait is between tries to get the lock while Nomad refuses or is away.
const longestWait = 30 * time.Second

// lease is one serai's part in the election of a leader.
type lease struct {
	*Variables
	logger    *slog.Logger
	name      string
	complaint string
}

// complain says each new trouble once.
func (l *lease) complain(ctx context.Context, err error) {
	if ctx.Err() == nil && err.Error() != l.complaint {
		l.complaint = err.Error()
		l.logger.Warn("no lock in Nomad can be had: who orders certificates is not known", "error", err)
	}
}

// acquire waits until the lock is ours. Only when it looks free is it asked
// for, because each try costs Nomad's servers a write.
func (l *lease) acquire(ctx context.Context) (nomad.Lock, error) {
	path := l.path(leaderPath)
	for {
		// What stands there before the try tells a change after it.
		index, term, err := l.seen(ctx, 0)
		if err != nil {
			return nomad.Lock{}, err
		}
		lock := nomad.Lock{Namespace: l.Namespace, Path: path, ID: nomad.NewLockID(), TTL: l.TTL, Delay: l.Delay}
		err = l.Client.AcquireLock(ctx, lock, map[string]string{
			"holder": l.name, "term": lock.ID[:8], "since": time.Now().UTC().Format(time.RFC3339),
		})
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, nomad.ErrConflict) {
			// The answer may be lost and the lock ours: it runs out by itself.
			return nomad.Lock{}, err
		}
		most := retryLock + rand.N(retryLock)
		for waited := time.Now(); time.Since(waited) < most; {
			next, now, err := l.seen(ctx, index)
			if err != nil {
				return nomad.Lock{}, err
			}
			if freed := next != index && now == term; freed {
				// All are woken: the first takes it, and the others see that.
				if pause(ctx, rand.N(l.TTL/20)); ctx.Err() != nil {
					return nomad.Lock{}, ctx.Err()
				}
				if _, now, err = l.seen(ctx, 0); err != nil || now == term {
					break
				}
			}
			index, term = next, now
		}
	}
}

// retryLock is how long a lock is only watched, and up to as long again: should
// its end be missed, it is asked for after that.
const retryLock = 10 * time.Minute

// seen reads the lock's variable, once it has changed since index.
func (l *lease) seen(ctx context.Context, index uint64) (newIndex uint64, term string, err error) {
	found, _, err := l.Client.Variable(ctx, l.path(leaderPath), nomad.Query{Namespace: l.Namespace, Index: index, Wait: time.Minute, Stale: true})
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		if index != 0 {
			pause(ctx, l.TTL/10) // who waited for a change is told nothing to wait for
		}
		return 0, "", nil
	case err != nil:
		return 0, "", err
	}
	return found.ModifyIndex, found.Items["term"], nil
}

// hold calls lead while the lock is surely ours, and frees it.
func (l *lease) hold(ctx context.Context, lock nomad.Lock, lead func(context.Context)) {
	leading, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(leading)
	}()
	l.renew(leading, lock, time.Now().Add(l.TTL))
	end()
	<-done
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := l.Client.ReleaseLock(release, lock); err != nil && !errors.Is(err, nomad.ErrConflict) {
		l.logger.Debug("the lock runs out by itself", "error", err)
	}
}

// renew returns when the lock is lost, or may be: Nomad gives it to nobody else
// before two TTLs have passed, and we give up after one.
func (l *lease) renew(ctx context.Context, lock nomad.Lock, until time.Time) {
	refused := false
	for {
		wait := l.TTL / 3
		if refused || time.Until(until) < 2*l.TTL/3 {
			wait = l.TTL / 20
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
		began := time.Now()
		if began.After(until) {
			return
		}
		attempt, cancel := context.WithDeadline(ctx, until)
		err := l.Client.RenewLock(attempt, lock)
		if errors.Is(err, nomad.ErrConflict) {
			if refused {
				cancel()
				return
			}
			// Right after an election of Nomad's leader this may be said in
			// error.
			refused = true
			err = l.Client.AcquireLock(attempt, lock, map[string]string{"holder": l.name, "term": lock.ID[:8], "since": began.UTC().Format(time.RFC3339)})
			cancel()
			if errors.Is(err, nomad.ErrConflict) {
				return
			}
			continue // only a renewal counts
		}
		cancel()
		if err != nil {
			l.complain(ctx, err)
			continue
		}
		refused, until, l.complaint = false, began.Add(l.TTL), ""
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
