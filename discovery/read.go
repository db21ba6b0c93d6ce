package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"serai/internal/sleep"
	"serai/nomad"
)

// coldReads is how many services are read at once while nothing is served, warmReads
// how many while something is, warmRate how many a second.
const (
	coldReads = 32
	warmReads = 4
	warmRate  = 50
)

// readAll reads services. New ones come first, as fast as at a cold start, because no
// client can reach them yet.
func (s *scan) readAll(ctx context.Context, order []Key, index uint64) error {
	var fresh, served []Key
	for _, key := range order {
		if s.known[key].served {
			served = append(served, key)
		} else {
			fresh = append(fresh, key)
		}
	}
	if err := s.readSome(ctx, fresh, index, coldReads, rate.Inf); err != nil {
		return err
	}
	if s.cold {
		return s.readSome(ctx, served, index, coldReads, rate.Inf)
	}
	return s.readSome(ctx, served, index, warmReads, warmRate)
}

func (s *scan) readSome(ctx context.Context, order []Key, index uint64, readers int, limit rate.Limit) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pace := rate.NewLimiter(limit, warmRate)
	keys := make(chan Key)
	var running sync.WaitGroup
	for range min(readers, len(order)) {
		running.Go(func() {
			for key := range keys {
				if err := pace.Wait(ctx); err != nil {
					return
				}
				ok, err := s.readOne(ctx, key, max(index, s.known[key].at))
				if err == nil && !ok {
					return
				}
				if err = s.unread.note(ctx, key, err); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, key := range order {
		select {
		case keys <- key:
		case <-ctx.Done():
			break feed
		}
	}
	close(keys)
	running.Wait()
	return context.Cause(ctx)
}

// usualAnswer is how many bytes of a service are read beside those of others. Services with
// more are read one at a time, each until it has been applied: so many read at once cost no
// more memory than one.
const usualAnswer = 256 << 10

// readOne reads one service, and reports whether it could be sent.
func (s *scan) readOne(ctx context.Context, key Key, index uint64) (ok bool, err error) {
	next, err := s.service(ctx, key, index, usualAnswer)
	if err == nil && next.tooLong {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		next, err = s.service(ctx, key, index, 0)
	}
	return err == nil && s.send(ctx, next), err
}

// attempts is how often one service is read before it counts as one that cannot be read,
// and enough the time after which it is not tried again.
const (
	attempts = 5
	enough   = 5 * time.Second
)

// service reads one service as of at least index. A server that lags gets some time. If
// the list is older than an event, the leader is asked. One that could not be read the
// last time is tried once. Most is how many bytes are read, 0 as many as of any answer.
func (s *scan) service(ctx context.Context, key Key, index uint64, most int64) (step, error) {
	var last error
	tries := attempts
	if s.known[key].unread {
		tries = 1
	}
	began := time.Now()
	for try := range tries {
		if try > 0 {
			if time.Since(began) > enough {
				break
			}
			if err := sleep.For(ctx, fullJitter(100*time.Millisecond<<try)); err != nil {
				return step{}, err
			}
		}
		q := nomad.Query{Namespace: key.Namespace, Stale: !s.leaderOnly && try < tries/2, Most: most}
		regs, meta, err := s.watcher.options.Client.Service(ctx, key.Name, q)
		switch {
		case err == nil && meta.Index >= index:
			return step{key: key, regs: regs, index: meta.Index}, nil
		case err == nil:
			last = fmt.Errorf("read service %q in namespace %q: every answer is as of index %d, want %d", key.Name, key.Namespace, meta.Index, index)
		case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused), errors.Is(err, nomad.ErrUnaskable):
			return step{}, err
		case errors.Is(err, nomad.ErrTooLong): // which keeps no other service from being read
			return step{key: key, tooLong: true}, nil
		default:
			last = err
		}
	}
	return step{}, last
}
