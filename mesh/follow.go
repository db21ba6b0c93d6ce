package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"serai/consul"
	"serai/internal/sleep"
)

// followed is one thing that the agent tells and renews.
type followed struct {
	what    string
	again   chan struct{} // it is to be read at once
	changes atomic.Uint64
	content string // of the last answer

	mu      sync.Mutex
	problem error // why it cannot be read now
	since   time.Time
}

func newFollowed(what string) *followed {
	return &followed{what: what, again: make(chan struct{}, 1)}
}

// refresh has it read at once, whatever the agent waits for.
func (f *followed) refresh() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// trouble is why it cannot be read, nil when it can.
func (f *followed) trouble() (since time.Time, problem error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since, f.problem
}

const (
	shortestPause = 500 * time.Millisecond
	longestPause  = 30 * time.Second
	// mostRefreshed is how often something is read at once because somebody asks for it.
	mostRefreshed = time.Second
)

var errRefreshed = errors.New("read again at once")

// follow reads until ctx ends, with queries that wait for a change. After an error, and when
// somebody asks, it reads what is valid now.
func (m *Mesh) follow(ctx context.Context, f *followed, read func(context.Context, consul.Query) (consul.Meta, error)) {
	index, pause := uint64(0), shortestPause
	turns := rate.NewLimiter(rate.Every(mostRefreshed/2), 20) // also where each answer has a higher index than the last
	for turns.Wait(ctx) == nil {
		began := time.Now()
		meta, err := m.once(ctx, f, read, index)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errRefreshed):
			index = 0
			if sleep.For(ctx, mostRefreshed) != nil {
				return
			}
			continue
		}
		f.tell(m, err)
		if err != nil {
			index = 0
			if sleep.For(ctx, pause/2+rand.N(pause)) != nil {
				return
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause = shortestPause
		if meta.Index < index {
			meta.Index = 0 // it went back: what is newer would be waited for too long
		}
		unchanged := meta.Index == index
		if index = meta.Index; m.due() {
			index = 0 // have the agent look whether it is still valid
		}
		if (unchanged || index == 0) && time.Since(began) < time.Second && sleep.For(ctx, 5*time.Second) != nil {
			return
		}
	}
}

// once reads once. It ends early when somebody wants to know at once.
func (m *Mesh) once(ctx context.Context, f *followed, read func(context.Context, consul.Query) (consul.Meta, error), index uint64) (consul.Meta, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel(nil)
	if index > 0 { // otherwise the agent does not wait
		waiting.Go(func() {
			select {
			case <-f.again:
				cancel(errRefreshed)
			case <-ctx.Done():
			}
		})
	}
	meta, err := read(ctx, consul.Query{Index: index, Wait: m.options.Wait})
	if err != nil && errors.Is(context.Cause(ctx), errRefreshed) {
		err = errRefreshed
	}
	return meta, err
}

// tell notes whether it can be read. Only what is new is logged.
func (f *followed) tell(m *Mesh, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && f.problem != nil:
		m.options.Logger.Info("the "+f.what+" of consul's mesh can be read again", "since", time.Since(f.since).Round(time.Second))
	case err != nil && (f.problem == nil || f.problem.Error() != err.Error()):
		m.options.Logger.Warn("the "+f.what+" of consul's mesh cannot be read; the last one is used while it is valid", "error", err)
	}
	if err != nil && f.problem == nil {
		f.since = time.Now()
	}
	f.problem = err
}
