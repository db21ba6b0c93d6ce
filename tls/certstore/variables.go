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

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/nomad"
)

// Variables keeps records in Nomad's Variables, below one prefix of one
// namespace.
type Variables struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespace is the namespace of the variables; empty means "default".
	Namespace string
	// Prefix is the first part of their paths, without a trailing slash. Required.
	// serai's policy permits "serai".
	Prefix string
	// TTL belongs to the leader's lock: another may lead after two TTLs, and Delay,
	// without a renewal. 10s, the least that Nomad permits, and 1s when zero.
	TTL, Delay time.Duration
	// Logger gets changes of the leader; nil discards them.
	Logger *slog.Logger
}

func (v *Variables) path(path string) string { return v.Prefix + "/" + path }

// Get reads from the leader of Nomad's servers.
func (v *Variables) Get(ctx context.Context, path string) (*Record, error) {
	found, _, err := v.Client.Variable(ctx, v.path(path), nomad.Query{Namespace: v.Namespace})
	if err != nil {
		return nil, known(err)
	}
	return &Record{Path: path, Items: found.Items, Version: found.ModifyIndex}, nil
}

// Read reads from any of Nomad's servers, unless its answer is too old.
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

// known turns Nomad's errors into errors of this package.
func known(err error) error {
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, nomad.ErrConflict):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// Put writes with check-and-set. After a write whose answer was lost, only reading
// shows whether it succeeded.
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

// List reads from any of Nomad's servers. The answer may be older than the last write;
// then the caller lists again soon.
func (v *Variables) List(ctx context.Context, below string, index uint64) ([]Entry, uint64, error) {
	return v.list(ctx, below, nomad.Query{Index: index, Wait: time.Minute, Stale: true})
}

// ListNewest reads from the leader of Nomad's servers.
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

// leaderPath is the variable that is locked. It has only the name of the holder,
// because acquiring a lock overwrites the variable.
const leaderPath = "leader"

// Leader reads the name of the holder of the lock, or of the last one.
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
			sleep.For(ctx, wait/2+rand.N(wait))
			wait = min(2*wait, longestWait)
			continue
		}
		l.complaint, wait = "", time.Second
		history.Tell(logger, slog.LevelInfo, history.LeaderGained, "this serai orders certificates now", "leader", name)
		l.hold(ctx, held, lead)
		if ctx.Err() == nil {
			history.Tell(logger, slog.LevelWarn, history.LeaderLost, "this serai does not order certificates any more: the lock in Nomad was lost")
		}
	}
	return ctx.Err()
}

// longestWait is the longest pause between attempts to get the lock while Nomad refuses
// or is unreachable.
const longestWait = 30 * time.Second

// lease is one serai's part in the election of a leader.
type lease struct {
	*Variables
	logger    *slog.Logger
	name      string
	complaint string
}

// complain logs each new problem once.
func (l *lease) complain(ctx context.Context, err error) {
	if ctx.Err() == nil && err.Error() != l.complaint {
		l.complaint = err.Error()
		l.logger.Warn("cannot get the lock in Nomad: it is not known which serai orders certificates", "error", err)
	}
}

// acquire waits until this serai has the lock. It tries only when the lock looks free,
// because each attempt costs Nomad's servers a write.
func (l *lease) acquire(ctx context.Context) (nomad.Lock, error) {
	path := l.path(leaderPath)
	for {
		// What is there before the attempt shows a change after it.
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
			// If only the answer was lost and the lock is ours, it expires by itself.
			return nomad.Lock{}, err
		}
		most := retryLock + rand.N(retryLock)
		for waited := time.Now(); time.Since(waited) < most; {
			next, now, err := l.seen(ctx, index)
			if err != nil {
				return nomad.Lock{}, err
			}
			if freed := next != index && now == term; freed {
				// All wake up: the first one takes it, and the others see that.
				if sleep.For(ctx, rand.N(l.TTL/20)); ctx.Err() != nil {
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

// retryLock is how long, and up to twice as long, a lock is only watched; after that an
// attempt is made, in case its release was missed.
const retryLock = 10 * time.Minute

// seen reads the lock's variable, once it has changed since index.
func (l *lease) seen(ctx context.Context, index uint64) (newIndex uint64, term string, err error) {
	found, _, err := l.Client.Variable(ctx, l.path(leaderPath), nomad.Query{Namespace: l.Namespace, Index: index, Wait: time.Minute, Stale: true})
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		if index != 0 {
			sleep.For(ctx, l.TTL/10) // no change to wait for was returned
		}
		return 0, "", nil
	case err != nil:
		return 0, "", err
	case found.ModifyIndex == index:
		sleep.For(ctx, l.TTL/10) // nor here: the answer may have come at once
	}
	return found.ModifyIndex, found.Items["term"], nil
}

// hold calls lead while this serai certainly has the lock, and releases it.
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

// renew returns when the lock is lost, or may be: Nomad gives it to nobody else before
// two TTLs have passed, and this serai gives up after one.
func (l *lease) renew(ctx context.Context, lock nomad.Lock, until time.Time) {
	refused := false
	for {
		wait := l.TTL / 3
		if refused || time.Until(until) < 2*l.TTL/3 {
			wait = l.TTL / 20
		}
		if sleep.For(ctx, wait); ctx.Err() != nil {
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
			// Right after an election of Nomad's leader this answer may be wrong.
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
