package keys

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstRetry is the pause after a fetch that failed while no key is known. It is
	// doubled each time, up to a minute, which is what it is when keys are known.
	firstRetry, lastRetry = time.Second, time.Minute
)

// Remote has keys that are fetched from a server, as long as a Followed follows it. Once
// known they stay until others are: a server that is silent, or answers nonsense, takes
// none away.
type Remote struct {
	options RemoteOptions
	url     *url.URL
	client  *http.Client
	set     atomic.Pointer[Set]
	asked   chan struct{} // has an element when somebody wants them to be fetched

	mu       sync.Mutex
	fetching bool
	begun    time.Time     // the last fetch, zero before the first
	ended    chan struct{} // closed at the end of the fetch that is next, or under way
	status   RemoteStatus
}

// RemoteStatus is the state of a Remote.
type RemoteStatus struct {
	// Keys is how many there are, Ignored how many of no use.
	Keys, Ignored int
	// Fetched and Failed count fetches, Changed those that brought other keys.
	Fetched, Failed, Changed uint64
	// Checked is when the keys were last fetched, zero if never.
	Checked time.Time
	// Problem is why the last fetch failed, empty if it did not.
	Problem string
}

var _ Source = (*Remote)(nil)

// NewRemote makes a Remote that knows no key.
func NewRemote(o RemoteOptions) (*Remote, error) {
	u, err := o.check()
	if err != nil {
		return nil, err
	}
	client, err := newClient(&o)
	if err != nil {
		return nil, err
	}
	return &Remote{options: o, url: u, client: client, asked: make(chan struct{}, 1), ended: make(chan struct{})}, nil
}

// Same reports whether another Remote has the same options.
func (r *Remote) Same(o *Remote) bool { return r.options == o.options }

// Continue has r, which nobody uses yet, know what o knows, if both fetch the same document
// and believe the same certificates: keys do not depend on how often, or how long, somebody
// asks for them.
func (r *Remote) Continue(o *Remote) {
	if r.options.URL != o.options.URL || r.options.CA != o.options.CA || o.set.Load() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	r.set.Store(o.set.Load())
	r.status = o.status
}

// Server is the scheme and the host that keys are fetched from.
func (r *Remote) Server() string { return r.url.Scheme + "://" + r.url.Host }

// Status returns the state.
func (r *Remote) Status() RemoteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Current returns the keys, nil before they are known.
func (r *Remote) Current() *Set { return r.set.Load() }

// Newer waits for a fetch that is under way or due. It asks for one where there has been
// none for AskedEvery.
func (r *Remote) Newer(than *Set, wait Wait) (*Set, error) {
	r.mu.Lock()
	if set := r.set.Load(); set != than {
		r.mu.Unlock()
		return set, nil
	}
	ended := r.ended
	switch {
	case r.fetching, r.begun.IsZero():
	case than != nil && time.Since(r.begun) >= r.options.AskedEvery:
		select {
		case r.asked <- struct{}{}:
		default:
		}
	default:
		defer r.mu.Unlock()
		return nil, r.why()
	}
	r.mu.Unlock()
	if err := wait(func(gone <-chan struct{}) {
		enough := time.NewTimer(r.options.Timeout)
		defer enough.Stop()
		select {
		case <-ended:
		case <-gone:
		case <-enough.C:
		}
	}); err != nil {
		return nil, err
	}
	if set := r.set.Load(); set != than {
		return set, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return nil, r.why()
}

// why says why there are no other keys. R.mu is held.
func (r *Remote) why() error {
	if r.fetching || r.status.Problem != "" || r.set.Load() == nil {
		return ErrUnavailable // nobody knows whether the key exists
	}
	return ErrUnknownKey
}

// follow fetches the keys now and then, until ctx ends.
func (r *Remote) follow(ctx context.Context, logger *slog.Logger) {
	logger = logger.With("server", r.Server())
	failures := 0
	for {
		pause := r.options.Refresh - rand.N(r.options.Refresh/8) // nodes that started together spread out
		was := r.Status()
		ok := r.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.tell(logger, was); ok {
			failures = 0
		} else {
			pause = lastRetry
			if r.set.Load() == nil && failures < 6 {
				pause = min(firstRetry<<failures, lastRetry)
			}
			failures++
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.asked:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// tell logs what has changed.
func (r *Remote) tell(logger *slog.Logger, was RemoteStatus) {
	switch is := r.Status(); {
	case is.Problem != "" && is.Problem != was.Problem && is.Keys == 0:
		logger.Error("signing keys for tokens cannot be fetched: nobody is let in", "error", is.Problem)
	case is.Problem != "" && is.Problem != was.Problem:
		logger.Warn("signing keys for tokens cannot be fetched: the last ones stay in use", "error", is.Problem)
	case is.Changed != was.Changed:
		logger.Info("new signing keys for tokens are in use", "keys", is.Keys, "ignored", r.set.Load().Ignored)
	case is.Problem == "" && was.Problem != "":
		logger.Info("signing keys for tokens can be fetched again", "keys", is.Keys)
	}
}

// attempt fetches the keys once.
func (r *Remote) attempt(ctx context.Context) (ok bool) {
	r.mu.Lock()
	r.fetching, r.begun = true, time.Now()
	select { // asked before this fetch began
	case <-r.asked:
	default:
	}
	r.mu.Unlock()
	set, err := r.fetch(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetching = false
	if err != nil {
		r.status.Failed++
		r.status.Problem = err.Error()
	} else {
		r.status.Fetched++
		r.status.Checked, r.status.Problem = time.Now(), ""
		if last := r.set.Load(); last == nil || last.sum != set.sum {
			r.set.Store(set)
			r.status.Changed++
			r.status.Keys, r.status.Ignored = set.Len(), len(set.Ignored)
		}
	}
	close(r.ended)
	r.ended = make(chan struct{})
	return err == nil
}
