package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"serai/nomad"
)

// scan is one reading: a list of each scope, then each service that matters. It
// sends what it reads to steps as it comes.
type scan struct {
	watcher *Watcher
	scopes  []string
	// partial says that the scopes are some namespaces of those watched; check
	// that a stream has told everything, as far as is known; streaming that
	// there is one.
	partial, check, streaming bool
	// known are the services that are served, or that went away lately; doubtful
	// are namespaces that could not be read for a while.
	known    map[Key]known
	doubtful map[string]bool
	// unchanged is the index up to which the services of a scope are known: a
	// list that is not newer says that only what it contradicts need be read. A
	// nil one reads everything. trusting reads no more even if it is newer.
	unchanged func(scope string) uint64
	trusting  bool
	// heard is the index of the newest event of the stream.
	heard func() uint64
	// least is the index that the leader had when the scan began; 0 when it
	// could not be asked, or where no stream tells what follows.
	least uint64
	// leaderOnly asks no other server, after a restore: those that have not
	// heard of it answer with the higher indexes of what is gone.
	leaderOnly bool
	// cold reads many at once, because nothing is served yet.
	cold  bool
	steps chan step
}

// known is what a scan must know of a service: the index that an answer must
// reach, and the tags of all its instances.
type known struct {
	at     uint64
	served bool
	tags   []string
}

// step is what a scan sends: one service, or its end.
type step struct {
	key   Key
	regs  []nomad.Registration
	index uint64 // of the service's answer; at the end of the oldest list
	// restored says that Nomad has gone back to an older state, and that what
	// is known is no measure any more.
	restored bool
	end      bool
	listing
	// unsure says that the leader could not be asked: a server that lags may
	// have been believed.
	unsure bool
	// unheard says that nothing was read, because the list is newer than all
	// that the stream tells.
	unheard bool
	err     error
}

// listing is what the lists of a scan said.
type listing struct {
	listed map[Key]bool
	// confirmed are the namespaces of which everything is listed, forbidden
	// those that cannot be: what is known there stays.
	confirmed map[string]bool
	forbidden map[string]error
	indexes   map[string]uint64 // by scope
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

// read lists and reads. Its answer is the end step.
func (s *scan) read(ctx context.Context) step {
	l := listing{listed: make(map[Key]bool), confirmed: make(map[string]bool), forbidden: make(map[string]error), indexes: make(map[string]uint64)}
	var order []Key
	var index uint64
	unsure := s.streaming && !s.askLeader(ctx)
	for end := time.Now().Add(commit); s.least > 0 && (s.least < s.heard() || s.older(nomad.AllNamespaces, s.least)); {
		if time.Now().After(end) {
			s.restored(ctx)
			break
		} else if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return step{err: err}
		}
		s.askLeader(ctx)
	}
	for i, scope := range s.scopes {
		stubs, at, err := s.list(ctx, scope, &l)
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
		for _, stub := range stubs {
			key := Key{stub.Namespace, stub.ServiceName}
			k := s.known[key]
			if !s.watcher.matches(stub.Namespace) || !k.served && !carries(stub.Tags, s.watcher.options.Prefix) || l.listed[key] {
				continue
			}
			l.listed[key] = true
			if changed || !k.served || s.doubtful[key.Namespace] || !slices.Equal(k.tags, sortedSet(stub.Tags)) {
				order = append(order, key)
			}
		}
	}
	if err := s.readAll(ctx, order, index); err != nil {
		return step{err: err}
	}
	return step{index: index, listing: l, unsure: unsure}
}

// nowhere is a namespace that nobody has: its list costs the leader nothing, and
// has the index of all services.
const nowhere = "serai-asks-for-the-index"

// askLeader notes the index of all services at the leader. What the stream does
// not tell, because it happened before, a server that lags does not either.
func (s *scan) askLeader(ctx context.Context) bool {
	client := s.watcher.options.Client
	_, meta, err := client.Services(ctx, nomad.Query{Namespace: nowhere})
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

// commit is how long an event may be known before the leader's lists have it.
// What is older after that was restored.
const commit = time.Second

// catchUp is how long a stream may take to tell what a list knows already.
const catchUp = 2 * time.Second

// changed reports whether services of a scope may be others than they are known.
func (s *scan) changed(ctx context.Context, scope string, at uint64) (bool, error) {
	switch {
	case s.unchanged == nil:
		return true, nil
	case s.trusting:
		return false, nil
	}
	// Events are told before lists have them, but on another way.
	for end := time.Now().Add(catchUp); s.unchanged(scope) < at; {
		if !s.streaming || time.Now().After(end) {
			return true, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// list reads the names of one scope. Any server may answer; but when the
// answer would take away what is served, or is older than what is known, the
// leader is asked. A list of all namespaces leaves out those that are
// forbidden: a namespace that lacks something is asked for by name.
func (s *scan) list(ctx context.Context, scope string, l *listing) ([]nomad.ServiceStub, uint64, error) {
	stubs, at, err := s.ask(ctx, scope, nomad.Query{Namespace: scope, Stale: !s.leaderOnly}, l)
	if err != nil || l.forbidden[scope] != nil {
		return nil, 0, err
	}
	if at < s.least || s.older(scope, at) || len(s.missing(scope, stubs)) > 0 {
		end := time.Now().Add(commit)
		for again := true; again; {
			if stubs, at, err = s.ask(ctx, scope, nomad.Query{Namespace: scope}, l); err != nil || l.forbidden[scope] != nil {
				return nil, 0, err
			}
			switch again = s.older(scope, at); {
			case again && time.Now().After(end):
				s.restored(ctx)
			case again:
				if err := sleep(ctx, 50*time.Millisecond); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	if scope != nomad.AllNamespaces {
		l.confirmed[scope] = true
		return stubs, at, nil
	}
	for _, namespace := range s.missing(scope, stubs) {
		some, index, err := s.ask(ctx, namespace, nomad.Query{Namespace: namespace}, l)
		if err != nil {
			return nil, 0, err
		}
		stubs = slices.DeleteFunc(stubs, func(stub nomad.ServiceStub) bool { return stub.Namespace == namespace })
		if l.forbidden[namespace] == nil {
			l.confirmed[namespace] = true
			stubs, at = append(stubs, some...), min(at, index)
		}
	}
	return stubs, at, nil
}

// restored goes on without believing anything that is known.
func (s *scan) restored(ctx context.Context) {
	s.send(ctx, step{restored: true})
	for key, k := range s.known {
		s.known[key] = known{0, k.served, k.tags}
	}
	s.unchanged, s.check, s.trusting, s.leaderOnly = nil, false, false, true
}

// ask lists one scope. That one namespace is forbidden is noted, and no error.
func (s *scan) ask(ctx context.Context, scope string, q nomad.Query, l *listing) ([]nomad.ServiceStub, uint64, error) {
	stubs, meta, err := s.watcher.options.Client.Services(ctx, q)
	if errors.Is(err, nomad.ErrForbidden) && scope != nomad.AllNamespaces && s.watcher.scope != scope {
		l.forbidden[scope] = err
		return nil, 0, nil
	}
	return stubs, meta.Index, err
}

// older reports whether a list is older than a service that is known.
func (s *scan) older(scope string, index uint64) bool {
	for key, k := range s.known {
		if (scope == nomad.AllNamespaces || scope == key.Namespace) && k.at > index {
			return true
		}
	}
	return false
}

// missing are the namespaces of which a list lacks a service that is served.
func (s *scan) missing(scope string, stubs []nomad.ServiceStub) (namespaces []string) {
	has := make(map[Key]bool, len(stubs))
	for _, stub := range stubs {
		has[Key{stub.Namespace, stub.ServiceName}] = true
	}
	lacks := make(map[string]bool)
	for key, k := range s.known {
		if (scope == nomad.AllNamespaces || scope == key.Namespace) && k.served && !has[key] {
			lacks[key.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(lacks))
}

// sortedSet is the tags of which a service's list has one each.
func sortedSet(tags []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(tags)))
}
