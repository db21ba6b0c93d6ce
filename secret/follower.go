package secret

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"serai/nomad"
)

const (
	// firstRetry and lastRetry bound the pause after a failure: a right that is given
	// should be used within seconds.
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
	// maxWait is how long one blocking query lasts. An agent continues it, and counts
	// its connection, after the client has gone.
	maxWait = time.Minute
)

// follower reads one variable, and again whenever it has changed.
type follower struct {
	*Store
	options Options
	path    string
	refused bool // the last answer was that it may not be read
}

func (f *follower) run(ctx context.Context) {
	var index, version uint64
	retry := firstRetry
	for ctx.Err() == nil {
		v, next, err := f.fetch(ctx, index, version)
		missing := errors.Is(err, nomad.ErrNotFound)
		if err != nil && !missing {
			f.fail(ctx, err)
			index = 0 // to see at once when it can be read again
			pause(ctx, retry/2+rand.N(retry))
			retry = min(2*retry, lastRetry)
			continue
		}
		f.refused, retry = false, firstRetry
		if missing {
			f.note(ctx, f.path, func(known *variable) { known.state, known.items, known.trouble = gone, nil, "" })
			version = 0
		} else {
			f.note(ctx, f.path, func(known *variable) { known.state, known.items, known.trouble = present, v.Items, "" })
			version = v.ModifyIndex
		}
		if next == index || missing {
			// The query timed out, or another variable has changed: nothing can be
			// waited for alone.
			pause(ctx, time.Second/2+rand.N(time.Second))
		}
		index = next
	}
}

// fail records a failure, and tells of a right that is missing once.
func (f *follower) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.note(ctx, f.path, func(known *variable) { known.trouble = err.Error() })
	forbidden := errors.Is(err, nomad.ErrForbidden)
	if forbidden && !f.refused && f.options.Refused != nil {
		f.options.Refused(f.path, err)
	}
	f.refused = forbidden
}

// fetch reads the variable, once it has changed since index. What looks older than the known
// version, or gone, is asked of the leader of Nomad's servers, and only the leader is believed:
// in this way a restored state is accepted, and nothing is lost by a server that lags.
func (f *follower) fetch(ctx context.Context, index, version uint64) (v *nomad.Variable, next uint64, err error) {
	v, next, err = f.ask(ctx, nomad.Query{Index: index, Wait: maxWait, Stale: index > 0})
	switch {
	case err == nil && index > 0 && v.ModifyIndex < version, errors.Is(err, nomad.ErrNotFound) && index > 0 && version > 0:
		return f.ask(ctx, nomad.Query{})
	case errors.Is(err, nomad.ErrUnavailable) && index == 0 && version == 0: // there may be no leader for now
		if v, next, stale := f.ask(ctx, nomad.Query{Stale: true}); stale == nil {
			return v, next, nil
		}
	}
	return v, next, err
}

func (f *follower) ask(ctx context.Context, q nomad.Query) (*nomad.Variable, uint64, error) {
	q.Namespace = f.options.Namespace
	v, meta, err := f.options.Client.Variable(ctx, f.path, q)
	return v, meta.Index, err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
