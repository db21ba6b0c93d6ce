package discovery

import (
	"context"
	"errors"
	"slices"
	"time"

	"serai/internal/sleep"
	"serai/nomad"
)

// scan is one reading: a list of each scope, then each service that matters. It sends
// what it reads to steps as it arrives.
type scan struct {
	watcher *Watcher
	scopes  []string
	// partial says that the scopes are only some of the watched namespaces; check, that
	// a stream has reported everything, as far as known; streaming, that there is a
	// stream.
	partial, check, streaming bool
	// known are the services that are served, or that went away recently; doubtful are
	// namespaces that could not be read for a while.
	known    map[Key]known
	doubtful map[string]bool
	// unchanged is the index up to which the services of a scope are known: if a list
	// is not newer, only services that differ from it must be read. When nil,
	// everything is read. trusting reads no more even if the list is newer.
	unchanged func(scope string) uint64
	trusting  bool
	// heard is the index of the newest event of the stream.
	heard func() uint64
	// least is the leader's index when the scan began; 0 when the leader could not be
	// asked, or when no stream reports later changes.
	least uint64
	// leaderOnly asks no other server, after a restore: servers that do not know of it
	// yet answer with the higher indexes of the old state.
	leaderOnly bool
	// cold reads many at once, because nothing is served yet.
	cold   bool
	steps  chan step
	large  chan struct{} // holds one, while a service is read with more than usualAnswer
	unread unreadable
}

// known is what a scan needs to know of a service: the index that an answer must reach,
// and the tags of all its instances.
type known struct {
	at     uint64
	served bool
	tags   []string
	unread bool // it could not be read the last time
}

// step is what a scan sends: one service, or its end.
type step struct {
	key   Key
	regs  []nomad.Registration
	index uint64 // of the service's answer; at the end, of the oldest list
	// tooLong says that the answer was longer than is read.
	tooLong bool
	// restored says that Nomad has gone back to an older state, so that known indexes
	// no longer count.
	restored bool
	end      bool
	listing
	// unsure says that the leader could not be asked: a server that lags may have been
	// believed.
	unsure bool
	// unheard says that nothing was read, because the list is newer than everything
	// that the stream has reported.
	unheard bool
	// unread are the services that could not be read, and why.
	unread map[Key]error
	err    error
}

// listing is the result of the lists of a scan.
type listing struct {
	listed map[Key]bool
	// confirmed are the namespaces that were listed completely, forbidden those that
	// cannot be listed: what is known there stays.
	confirmed map[string]bool
	forbidden map[string]error
	indexes   map[string]uint64 // by scope
	// left is how many services of a namespace were left out, because it has more than are
	// kept. Then it counts as listed in part.
	left map[string]int
}

func (s *scan) run(ctx context.Context) {
	end := s.read(ctx)
	end.end = true
	s.send(ctx, end)
}

func (s *scan) send(ctx context.Context, next step) bool {
	select {
	case s.steps <- next:
		return true
	case <-ctx.Done():
		return false
	}
}

// read lists and reads. It returns the last step.
func (s *scan) read(ctx context.Context) step {
	l := listing{listed: make(map[Key]bool), confirmed: make(map[string]bool), forbidden: make(map[string]error), indexes: make(map[string]uint64), left: make(map[string]int)}
	var order []Key
	var index uint64
	unsure := s.streaming && !s.askLeader(ctx)
	if err := s.awaitLeader(ctx); err != nil {
		return step{err: err}
	}
	for i, scope := range s.scopes {
		rows, at, err := s.list(ctx, scope, &l)
		if err != nil {
			return step{err: err}
		}
		if l.forbidden[scope] != nil {
			continue
		}
		l.indexes[scope] = at
		if i == 0 || at < index || index == 0 {
			index = at
		}
		changed, err := s.changed(ctx, scope, at)
		if err != nil {
			return step{err: err}
		}
		if changed && s.check && scope == nomad.AllNamespaces {
			return step{unheard: true}
		}
		for _, row := range rows {
			if l.listed[row.Key] {
				continue
			}
			l.listed[row.Key] = true
			if changed || row.differs || s.doubtful[row.Namespace] {
				order = append(order, row.Key)
			}
		}
	}
	for namespace := range l.left {
		delete(l.confirmed, namespace)
	}
	if err := s.readAll(ctx, order, index); err != nil {
		return step{err: err}
	}
	failed, err := s.unread.all(!s.partial && !s.check)
	if err != nil {
		return step{err: err}
	}
	return step{index: index, listing: l, unsure: unsure, unread: failed}
}

// nowhere is a namespace that does not exist: its list costs the leader nothing, and
// has the index of all services.
const nowhere = "serai-asks-for-the-index"

// askLeader notes the leader's index of all services. A change that the stream does not
// report, because it happened earlier, may also be unknown to a server that lags.
func (s *scan) askLeader(ctx context.Context) bool {
	client := s.watcher.options.Client
	meta, err := client.EachService(ctx, nomad.Query{Namespace: nowhere}, uncared)
	if errors.Is(err, nomad.ErrForbidden) {
		// This token may read only what its policies name.
		namespace := s.watcher.scope
		if namespace == nomad.AllNamespaces {
			namespace = s.watcher.options.Home
		}
		_, meta, err = client.Service(ctx, "serai", nomad.Query{Namespace: namespace})
	}
	if err == nil {
		s.least = meta.Index
	}
	return err == nil
}

// commit is how long an event may arrive before the leader's lists contain it. If a
// list is still older after that, Nomad was restored.
const commit = time.Second

// awaitLeader waits until the leader, if it could be asked, knows what is known here.
func (s *scan) awaitLeader(ctx context.Context) error {
	behind := func() bool {
		return s.least > 0 && (s.least < s.heard() || s.older(nomad.AllNamespaces, s.least))
	}
	for end := time.Now().Add(commit); behind(); s.askLeader(ctx) {
		if time.Now().After(end) {
			s.restored(ctx)
			return nil
		}
		if err := sleep.For(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// catchUp is how long a stream may take to report what a list contains already.
const catchUp = 2 * time.Second

// changed reports whether services of a scope may differ from what is known.
func (s *scan) changed(ctx context.Context, scope string, at uint64) (bool, error) {
	switch {
	case s.unchanged == nil:
		return true, nil
	case s.trusting:
		return false, nil
	}
	// Events are sent before lists contain them, but by another way.
	for end := time.Now().Add(catchUp); s.unchanged(scope) < at; {
		if !s.streaming || time.Now().After(end) {
			return true, nil
		}
		if err := sleep.For(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// restored goes on without using anything that is known.
func (s *scan) restored(ctx context.Context) {
	s.send(ctx, step{restored: true})
	for key, k := range s.known {
		k.at = 0
		s.known[key] = k
	}
	s.unchanged, s.check, s.trusting, s.leaderOnly = nil, false, false, true
}

// older reports whether a list is older than a known service.
func (s *scan) older(scope string, index uint64) bool {
	for key, k := range s.known {
		if (scope == nomad.AllNamespaces || scope == key.Namespace) && k.at > index {
			return true
		}
	}
	return false
}

// sortedSet returns the tags sorted, each once, as in a list of services.
func sortedSet(tags []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(tags)))
}
