package keys

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Followed are the Remotes whose keys are fetched while Run runs. The zero value has
// none.
type Followed struct {
	mu      sync.Mutex
	remotes []*Remote
	changed chan struct{} // closed when remotes has changed
}

// Set says which they are, from now on. One that was among them before goes on.
func (f *Followed) Set(remotes []*Remote) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remotes = slices.Clone(remotes)
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// get returns them, and what is closed when they change.
func (f *Followed) get() ([]*Remote, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.remotes, f.changed
}

// Run fetches their keys until ctx ends.
func (f *Followed) Run(ctx context.Context, logger *slog.Logger) error {
	running := make(map[*Remote]context.CancelFunc)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		remotes, changed := f.get()
		for r, stop := range running {
			if !slices.Contains(remotes, r) {
				stop()
				delete(running, r)
			}
		}
		for _, r := range remotes {
			if running[r] != nil {
				continue
			}
			following, stop := context.WithCancel(ctx)
			running[r] = stop
			all.Go(func() { r.follow(following, logger) })
		}
		select {
		case <-changed:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return ctx.Err()
		}
	}
}
