package discovery

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"serai/internal/sleep"
	"serai/nomad"
)

// impossible is a namespace that cannot exist. Its list is empty, and has the index of all
// services. Servers keep instances in a tree by the names of their namespaces, and a query
// that waits for a change watches the branch where its namespace would be. No name begins
// with an underscore, so that is the root, and every change of any service ends the wait.
const impossible = "_serai-waits-for-any-change"

// silence is how long a stream must have sent no event before it is doubted; doubts are how
// often that may cost a request, and doubted how many may come at once: a stream
// that is silent now and then, because little happens, is asked about after each change.
const (
	silence = 2 * time.Second
	doubts  = 30 * time.Second
	doubted = 10
)

// watchSilence reports changes on which the stream is silent. After a restored snapshot a
// server leaves its streams open for a while, 20 s were seen (2.0.5), and sends no
// event on them. Until they end serai would not know what is deployed. So while the stream
// is silent, a query waits for the next change: if one comes, and the stream stays silent,
// everything is checked.
//
// It needs the stream of all namespaces: another one is silent about changes elsewhere.
func (s *session) watchSilence(ctx context.Context) {
	var pause backoff
	turns := rate.NewLimiter(rate.Every(doubts), doubted)
	for turns.Wait(ctx) == nil {
		at, err := s.awaitSilence(ctx)
		if err != nil {
			return
		}
		meta, err := s.options.Client.EachService(ctx, nomad.Query{Namespace: impossible, Stale: true, Index: at}, uncared)
		switch {
		case errors.Is(err, nomad.ErrForbidden):
			return // as for a token that may read only what its policies name
		case err != nil:
			if sleep.For(ctx, max(time.Second, pause.next(err))) != nil {
				return
			}
			continue
		}
		pause.reset()
		if meta.Index <= at {
			continue // the wait was over
		}
		// Events come by another way. Any of them says that the stream is well.
		if sleep.For(ctx, catchUp) != nil {
			return
		}
		if s.heardAt.Load() != at {
			continue
		}
		select {
		case s.silent <- at:
		case <-ctx.Done():
			return
		}
	}
}

// awaitSilence waits until the stream has sent no event for a while, and returns the index
// of what is known then.
func (s *session) awaitSilence(ctx context.Context) (at uint64, err error) {
	at = s.heardAt.Load()
	for {
		if err := sleep.For(ctx, silence); err != nil {
			return 0, err
		}
		now := s.heardAt.Load()
		if now == at && now > 0 {
			return at, nil
		}
		at = now
	}
}

// checkSilence checks everything, unless something was heard after all, or is read anyway.
func (s *session) checkSilence(ctx context.Context, at uint64) {
	if s.course == following && s.mark.whole && s.scanning == nil && s.heardAt.Load() == at {
		s.check(ctx)
	}
}
