package nomad

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"serai/internal/sleep"
)

const (
	// firstRetry and lastRetry bound the pause after a failure: a right that is granted
	// should be used within seconds.
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
	// maxWait is how long one blocking query lasts. An agent continues it, and counts its
	// connection, after the client has gone.
	maxWait = time.Minute
)

// Follower reads one variable, and again whenever it has changed.
type Follower struct {
	// Client talks to Nomad. Required.
	Client *Client
	// Namespace and Path name the variable.
	Namespace, Path string
	// Older reports whether an answer may be older than the known version of the
	// variable, which is 0 when none is known. V is nil when the server does not have the
	// variable; index is that of the answer. Nomad's leader is asked then, and only the
	// leader is believed: so a restored, older state is accepted, and a server that lags
	// behind takes nothing away. Required.
	Older func(v *Variable, index, version uint64) bool
}

// Run calls seen with the variable, which is nil when it does not exist, or with the error
// why it is not known, until ctx ends.
func (f *Follower) Run(ctx context.Context, seen func(v *Variable, err error)) {
	var index, version uint64
	retry := firstRetry
	turns := rate.NewLimiter(rate.Every(time.Second), 20) // also where each answer has a higher index than the last
	for turns.Wait(ctx) == nil {
		v, next, err := f.read(ctx, index, version)
		if ctx.Err() != nil {
			return
		}
		seen(v, err)
		if err != nil {
			index = 0 // to see at once when it can be read again
			sleep.For(ctx, retry/2+rand.N(retry))
			retry = min(2*retry, lastRetry)
			continue
		}
		before := version
		version = 0
		if v != nil {
			version = v.ModifyIndex
		}
		if next == index || index > 0 && before == 0 && version == 0 {
			// The query timed out, there was no variable, or another one has changed:
			// nothing can be waited for alone.
			sleep.For(ctx, time.Second/2+rand.N(time.Second))
		}
		index, retry = next, firstRetry
	}
}

// read reads the variable, once it has changed since index.
func (f *Follower) read(ctx context.Context, index, version uint64) (v *Variable, next uint64, err error) {
	v, next, err = f.ask(ctx, Query{Index: index, Wait: maxWait, Stale: index > 0})
	switch {
	case err == nil && index > 0 && f.Older(v, next, version):
		return f.ask(ctx, Query{})
	case errors.Is(err, ErrUnavailable) && index == 0 && version == 0:
		// There may be no leader for now. A server that has the variable is believed; one
		// that does not may lag behind.
		if v, next, stale := f.ask(ctx, Query{Stale: true}); stale == nil && v != nil {
			return v, next, nil
		}
	}
	return v, next, err
}

// ask sends one query. A variable that does not exist is no error.
func (f *Follower) ask(ctx context.Context, q Query) (*Variable, uint64, error) {
	q.Namespace = f.Namespace
	v, meta, err := f.Client.Variable(ctx, f.Path, q)
	if errors.Is(err, ErrNotFound) {
		return nil, meta.Index, nil
	}
	return v, meta.Index, err
}
