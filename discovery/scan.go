package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"serai/nomad"
)

// scan is one reading of everything: a list of each scope, then each service
// that matters. It sends what it reads to steps as it comes.
type scan struct {
	watcher *Watcher
	scopes  []string
	// known are the services that are already served, with the index that
	// their answer must reach.
	known map[Key]uint64
	// heard is the index up to which events have told everything; 0 reads
	// everything whatever the list says.
	heard uint64
	// cold reads many at once, because nothing is served yet.
	cold  bool
	steps chan step
}

// step is what a scan sends: one service, or its end.
type step struct {
	key   Key
	regs  []nomad.Registration
	index uint64 // of the service's answer; at the end of the list's
	// restored says that Nomad has gone back to an older state, and that what
	// is known is no measure any more.
	restored bool
	// end ends the scan; listed is all services that were listed.
	end    bool
	listed map[Key]bool
	err    error
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
	listed := make(map[Key]bool)
	var order []Key
	var index, newest uint64
	strange := false // something is listed that is not known
	for i, scope := range s.scopes {
		stubs, at, err := s.list(ctx, scope)
		if err != nil {
			return step{err: err}
		}
		if i == 0 || at < index {
			index = at
		}
		newest = max(newest, at)
		for _, stub := range stubs {
			key := Key{stub.Namespace, stub.ServiceName}
			if _, served := s.known[key]; s.watcher.options.Namespaces.Match(stub.Namespace) && (served || carries(stub.Tags, s.watcher.options.Prefix)) {
				listed[key] = true
				order = append(order, key)
				strange = strange || !served
			}
		}
	}
	if s.heard >= newest && newest > 0 && !strange {
		return step{index: index, listed: listed}
	}
	// What is new comes first: nobody can reach it yet.
	slices.SortStableFunc(order, func(a, b Key) int {
		_, old := s.known[a]
		_, older := s.known[b]
		return boolInt(old) - boolInt(older)
	})
	if err := s.readAll(ctx, order, index); err != nil {
		return step{err: err}
	}
	return step{index: index, listed: listed}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// list reads the names of one scope. Any server may answer; but when the
// answer would take away what is served, or is older than what is known, the
// leader is asked.
func (s *scan) list(ctx context.Context, scope string) ([]nomad.ServiceStub, uint64, error) {
	client := s.watcher.options.Client
	stubs, meta, err := client.Services(ctx, nomad.Query{Namespace: scope, Stale: true})
	if err != nil {
		return nil, 0, err
	}
	if !s.loses(scope, stubs, meta.Index) {
		return stubs, meta.Index, nil
	}
	stubs, meta, err = client.Services(ctx, nomad.Query{Namespace: scope})
	if err != nil {
		return nil, 0, err
	}
	for _, at := range s.known {
		if at > meta.Index {
			s.send(ctx, step{restored: true})
			for key := range s.known {
				s.known[key] = 0
			}
			break
		}
	}
	return stubs, meta.Index, nil
}

// loses reports whether a list lacks a service that is served, or is older.
func (s *scan) loses(scope string, stubs []nomad.ServiceStub, index uint64) bool {
	has := make(map[Key]bool, len(stubs))
	for _, stub := range stubs {
		has[Key{stub.Namespace, stub.ServiceName}] = true
	}
	for key, at := range s.known {
		if (scope == nomad.AllNamespaces || scope == key.Namespace) && (!has[key] || at > index) {
			return true
		}
	}
	return false
}

// coldReads is how many services are read at a time while nothing is served,
// warmReads how many while something is, warmRate how many a second.
const (
	coldReads = 32
	warmReads = 4
	warmRate  = 50
)

func (s *scan) readAll(ctx context.Context, order []Key, index uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	readers := warmReads
	pace := rate.NewLimiter(warmRate, warmRate)
	if s.cold {
		readers, pace = coldReads, rate.NewLimiter(rate.Inf, 0)
	}
	keys := make(chan Key)
	var running sync.WaitGroup
	for range min(readers, len(order)) {
		running.Go(func() {
			for key := range keys {
				if err := pace.Wait(ctx); err != nil {
					return
				}
				next, err := s.service(ctx, key, max(index, s.known[key]))
				if err != nil {
					cancel(err)
					return
				}
				if !s.send(ctx, next) {
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

// attempts is how often one service is read before the scan gives up.
const attempts = 5

// service reads one service as of at least index. A server that lags is given
// time; the list may be older than what an event told, then the leader knows.
func (s *scan) service(ctx context.Context, key Key, index uint64) (step, error) {
	var last error
	for try := range attempts {
		if try > 0 {
			if err := sleep(ctx, fullJitter(100*time.Millisecond<<try)); err != nil {
				return step{}, err
			}
		}
		q := nomad.Query{Namespace: key.Namespace, Stale: try < attempts/2}
		regs, meta, err := s.watcher.options.Client.Service(ctx, key.Name, q)
		switch {
		case err == nil && meta.Index >= index:
			return step{key: key, regs: regs, index: meta.Index}, nil
		case err == nil:
			last = fmt.Errorf("read service %q in namespace %q: every answer is as of index %d, want %d", key.Name, key.Namespace, meta.Index, index)
		case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused):
			return step{}, err
		default:
			last = err
		}
	}
	return step{}, last
}
