package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"serai/internal/sleep"
	"serai/nomad"
)

// blocked is the number of blocking queries at once, if namespaces must be listed by
// name. The others are listed one after the other, one a second.
const blocked = 16

// poll follows lists with blocking queries, because the stream is refused or does not last, and
// requests the stream again and again. It is no failure when nothing may be listed: what is
// known stays.
func (s *session) poll(ctx, outer context.Context, refusal error, names map[string]bool) error {
	s.problem = s.lacking(refusal)
	if s.mark.whole {
		s.polled = nil // the stream has reported more
	}
	scopes, err := s.listable(ctx, names)
	if err != nil {
		return err
	}
	s.scopes = scopes
	from := s.mark.from()
	retry := s.options.Retry
	if errors.Is(refusal, errShort) {
		// To try it costs a reading of everything.
		retry *= 20 << min(s.short-tolerated, 4)
	}
	s.run.Go(func() { s.askForStream(ctx, outer, from, names, retry) })
	if len(scopes) == 0 {
		s.lost(s.problem)
		s.resync.Stop() // with a new permission to list, the resync starts again
		return nil
	}
	if s.Status()[0].Phase != Polling {
		s.options.Logger.Warn("nomad refuses the event stream, or it does not last: using blocking queries instead, which are slower and cost the servers more", "scopes", s.scopes, "error", s.problem)
	}
	for _, scope := range scopes[:min(blocked, len(scopes))] {
		s.run.Go(func() { s.watchList(ctx, scope) })
	}
	if len(scopes) > blocked {
		s.run.Go(func() { s.goRound(ctx, scopes[blocked:]) })
	}
	s.begin(ctx, &scan{scopes: slices.Clone(scopes), unchanged: s.polledAt()})
	return nil
}

// polledAt is the index up to which the services of a scope are known without a stream:
// from a list, or from the last stream.
func (s *session) polledAt() func(string) uint64 {
	var heard uint64
	if s.mark.whole {
		heard = s.mark.at()
	}
	polled := maps.Clone(s.polled)
	return func(scope string) uint64 { return max(heard, polled[scope]) }
}

// lacking says which permission is missing, if one is.
func (s *session) lacking(cause error) error {
	if !refused(cause) {
		return cause
	}
	return fmt.Errorf(`%w; add to the policy of serai's job: namespace %q { capabilities = ["read-job"] }, and the same capability to each namespace that has a block of its own`, cause, s.scope)
}

// listable returns what may be listed. If a list of all namespaces is allowed it shows
// those that may be read; the others, as far as they are known, are tried by name: a
// workload identity may read any that it names.
func (s *session) listable(ctx context.Context, names map[string]bool) ([]string, error) {
	client := s.options.Client
	byName := map[string]bool{s.scope: true}
	var scopes []string
	if s.scope == nomad.AllNamespaces {
		byName = s.candidates(names)
		seen := make(map[string]bool)
		_, err := client.EachService(ctx, nomad.Query{Namespace: s.scope, Stale: true}, func(stub nomad.ServiceStub) error {
			seen[stub.Namespace] = true
			return nil
		})
		switch {
		case err == nil:
			scopes = append(scopes, s.scope)
			maps.DeleteFunc(byName, func(name string, _ bool) bool { return seen[name] })
		case !errors.Is(err, nomad.ErrForbidden):
			return nil, err
		}
	}
	pace := rate.NewLimiter(warmRate, blocked)
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if err := pace.Wait(ctx); err != nil {
			return nil, err
		}
		some := false
		_, err := client.EachService(ctx, nomad.Query{Namespace: name, Stale: true}, func(nomad.ServiceStub) error {
			some = true
			return nil
		})
		switch {
		case errors.Is(err, nomad.ErrForbidden):
			s.forbid(name, err)
		case err != nil:
			return nil, err
		case some || len(scopes) == 0 || scopes[0] != nomad.AllNamespaces || s.holds(name):
			scopes = append(scopes, name)
		}
	}
	return scopes, nil
}

// candidates are the namespaces that may be worth a list of their own: those that the
// operator named, those that the token may see, those with served services, and serai's
// own.
func (s *session) candidates(names map[string]bool) map[string]bool {
	all := setOf(s.options.Namespaces.Names())
	maps.Copy(all, names)
	for key := range s.services {
		all[key.Namespace] = true
	}
	all[s.options.Home] = true
	maps.DeleteFunc(all, func(name string, _ bool) bool { return !s.matches(name) })
	return all
}

// holds reports whether a service of a namespace is known.
func (s *session) holds(namespace string) bool {
	for key := range s.services {
		if key.Namespace == namespace {
			return true
		}
	}
	return false
}

// askForStream requests the stream until it is granted, or until other permissions
// change. While nothing may be read this costs the servers a list of namespaces and a
// refused subscription every few seconds, and a list of one namespace while some are
// forbidden.
func (s *session) askForStream(ctx, outer context.Context, from uint64, names map[string]bool, retry time.Duration) {
	for turn := 0; sleep.For(ctx, around(retry)) == nil; turn++ {
		o := s.openSoon(ctx, outer, from)
		changed := o.err == nil
		if o.err != nil && o.names != nil {
			changed = names != nil && !maps.Equal(o.names, names)
			names = o.names
		}
		if !changed {
			changed = s.mayReadAgain(ctx, turn)
		}
		if !changed {
			continue
		}
		select {
		case s.opened <- o:
		case <-ctx.Done():
			if o.err == nil {
				o.stream.Close()
			}
		}
		return
	}
}

// openSoon is open for a stream that may outlive the session, and live as long as
// outer. It waits for a refusal that looks like silence no longer than the pause
// between two attempts.
func (s *session) openSoon(ctx, outer context.Context, from uint64) opening {
	outer, cancel := context.WithCancel(outer)
	limit := max(s.options.Retry, time.Second)
	late := time.AfterFunc(limit, cancel)
	ended := context.AfterFunc(ctx, cancel)
	o := s.open(outer, from)
	if !late.Stop() || !ended() {
		if o.err == nil {
			o.stream.Close()
		}
		o.stream, o.err = nil, fmt.Errorf("subscribe to service events of namespace %q: %w for %v: it is refused, or the server is busy", s.scope, nomad.ErrStreamSilent, limit)
	}
	if o.err != nil {
		cancel()
	}
	return o
}

// mayReadAgain tries one of the forbidden namespaces.
func (s *session) mayReadAgain(ctx context.Context, turn int) bool {
	forbidden := s.Status()[0].Forbidden
	if len(forbidden) == 0 {
		return false
	}
	_, err := s.options.Client.EachService(ctx, nomad.Query{Namespace: forbidden[turn%len(forbidden)].Namespace, Stale: true}, uncared)
	return err == nil
}

// allowed passes the opened stream to the next session.
func (s *session) allowed(o opening) *opening {
	if o.err != nil {
		return nil
	}
	return &o
}

// goRound lists namespaces one after the other.
func (s *session) goRound(ctx context.Context, scopes []string) {
	for turn := 0; sleep.For(ctx, around(time.Second)) == nil; turn++ {
		select {
		case s.lists <- scopes[turn%len(scopes)]:
		case <-ctx.Done():
		}
	}
}

// watchList reports when a list has changed.
func (s *session) watchList(ctx context.Context, scope string) {
	var pause backoff
	q, turns := nomad.Query{Namespace: scope, Stale: true, Index: 1}, newTurns()
	for turns.Wait(ctx) == nil {
		meta, err := s.options.Client.EachService(ctx, q, uncared)
		if err != nil {
			if sleep.For(ctx, pause.next(err)) != nil {
				return
			}
			q.Index = 1 // whatever was missed
			continue
		}
		pause.reset()
		if meta.Index == q.Index {
			continue
		}
		q.Index = meta.Index
		select {
		case s.lists <- scope:
		case <-ctx.Done():
			return
		}
		// Changes come in groups.
		if sleep.For(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}
