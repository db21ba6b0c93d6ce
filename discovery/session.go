package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"serai/nomad"
)

// session is one time of hearing from Nomad: from a subscription (or, where
// that is refused, a list) until it breaks.
type session struct {
	*Watcher
	*knowledge
	pause *backoff
	run   *sync.WaitGroup

	// stream is nil while lists are waited for.
	stream   *nomad.Stream
	lines    chan line
	problem  error           // why there is no stream
	scopes   []string        // what is listed
	lists    chan struct{}   // a list has changed
	names    map[string]bool // namespaces that the stream covers
	spaces   chan []string
	opened   chan opening
	scanning *scan
	again    bool // scan once more when this one has ended
	// recent are the events since the scan began: what it reads may be older.
	recent map[Key][]nomad.Event
	failed backoff // of scans
	resync *time.Timer
	// heardAt is the index of the newest event; whole says that everything has
	// been read since the stream began; checks counts the looks since then.
	heardAt uint64
	whole   bool
	checks  int
}

// readAgain is how often everything is read again: once in so many resyncs. The
// others look at the list alone, as long as it tells of nothing that is newer
// than what was heard: a thousand serai that read ten thousand services every
// ten minutes would be most of what Nomad's servers do.
const readAgain = 6

// line is what one stream said.
type line struct {
	from  *nomad.Stream
	batch nomad.Batch
	err   error
}

// opening is the end of an attempt to subscribe.
type opening struct {
	stream *nomad.Stream
	names  []string
	err    error
}

// watch runs the session. It returns nil when it is time to try the stream
// again.
func (s *session) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.lines, s.lists = make(chan line), make(chan struct{}, 1)
	s.spaces, s.opened = make(chan []string), make(chan opening, 1)
	s.recent = make(map[Key][]nomad.Event)
	s.scopes = []string{s.scope}
	var spaces nomad.Meta
	if s.scope == nomad.AllNamespaces {
		// Before the stream begins: it covers at least these.
		names, meta, err := s.options.Client.Namespaces(ctx, nomad.Query{Stale: true})
		if err == nil {
			s.names, spaces = setOf(names), meta
		}
	}
	stream, err := s.options.Client.Stream(ctx, s.scope, 0)
	switch {
	case err == nil:
		s.follow(ctx, stream)
	case refused(err):
		if err := s.settleForLists(ctx, err); err != nil {
			return err
		}
	default:
		return err
	}
	defer func() {
		if s.stream != nil {
			s.stream.Close()
		}
	}()
	if s.scope == nomad.AllNamespaces {
		s.run.Go(func() { s.watchNamespaces(ctx, spaces.Index) })
	}
	s.resync = time.NewTimer(around(s.options.Resync))
	defer s.resync.Stop()
	var retry <-chan time.Time
	if s.stream == nil {
		timer := time.NewTimer(around(s.options.Retry))
		defer timer.Stop()
		retry = timer.C
	}
	s.scan(ctx)
	for {
		var steps chan step
		if s.scanning != nil {
			steps = s.scanning.steps
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-s.lines:
			if err := s.heard(l); err != nil {
				return err
			}
		case next := <-steps:
			if err := s.step(ctx, next); err != nil {
				return err
			}
		case <-s.lists:
			s.scan(ctx)
		case names := <-s.spaces:
			s.subscribe(ctx, names)
		case o := <-s.opened:
			s.reopened(ctx, o)
		case <-s.resync.C:
			if s.checks++; s.checks%readAgain == 0 {
				s.scan(ctx)
			} else {
				s.check(ctx)
			}
		case <-retry:
			return nil
		}
	}
}

// follow reads a stream from now on.
func (s *session) follow(ctx context.Context, stream *nomad.Stream) {
	s.stream = stream
	s.run.Go(func() {
		for {
			batch, err := stream.Next()
			select {
			case s.lines <- line{stream, batch, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
}

// heard brings in one line of the stream.
func (s *session) heard(l line) error {
	if l.from != s.stream {
		return nil // the one before
	}
	if l.err != nil {
		return l.err
	}
	s.heardAt = max(s.heardAt, l.batch.Index)
	for i := range l.batch.Events {
		e := &l.batch.Events[i]
		if !s.matches(e.Registration.Namespace) {
			continue
		}
		if s.scanning != nil {
			key := Key{e.Registration.Namespace, e.Registration.ServiceName}
			s.recent[key] = append(s.recent[key], *e)
		}
		s.apply(e, l.batch.Received)
	}
	s.set(func(status *Status) {
		status.Heard = l.batch.Received
		status.Index = max(status.Index, l.batch.Index)
		status.Events += uint64(len(l.batch.Events))
	})
	s.publish()
	return nil
}

// publish sends what has changed, once there is something to give.
func (s *session) publish() {
	if !s.dirty || !s.any {
		return
	}
	snapshot := s.snapshot()
	snapshot.Origin, snapshot.Read = s.origin, s.read
	s.set(func(status *Status) {
		status.Index = max(status.Index, snapshot.Index)
		status.count(snapshot.Services)
	})
	s.box.put(snapshot)
}

// check begins to list everything, and goes on to read it only if the list is
// newer than what was heard. Without a stream, or where a namespace may have
// come without a word, everything is read.
func (s *session) check(ctx context.Context) {
	if s.stream == nil || !s.whole || s.scope == nomad.AllNamespaces && s.names == nil {
		s.scan(ctx)
		return
	}
	s.begin(ctx, max(s.heardAt, s.floor))
}

// scan begins to read everything, or remembers to do it again.
func (s *session) scan(ctx context.Context) { s.begin(ctx, 0) }

func (s *session) begin(ctx context.Context, heard uint64) {
	if s.scanning != nil {
		s.again = s.again || heard == 0
		return
	}
	s.again = false
	known := make(map[Key]uint64, len(s.services))
	for key := range s.services {
		known[key] = s.asOf(key)
	}
	scanning := &scan{watcher: s.Watcher, scopes: slices.Clone(s.scopes), known: known, heard: heard, cold: !s.any, steps: make(chan step)}
	s.scanning = scanning
	s.run.Go(func() { scanning.run(ctx) })
}

// step brings in what the scan read.
func (s *session) step(ctx context.Context, next step) error {
	if next.restored {
		s.options.Logger.Warn("nomad has gone back to an older state; everything is read anew")
		s.floor = 0
		clear(s.known)
		return nil
	}
	if !next.end {
		s.replace(next.key, next.regs, next.index)
		for i := range s.recent[next.key] {
			s.apply(&s.recent[next.key][i], time.Now())
		}
		s.publish()
		return nil
	}
	s.scanning = nil
	clear(s.recent)
	if next.err != nil {
		if s.stream == nil || !s.any {
			return next.err
		}
		// The stream goes on telling what changes: only the reading is late.
		s.options.Logger.Warn("services cannot be read again; events are still heard", "error", next.err)
		s.set(func(status *Status) { status.Problem = next.err.Error() })
		s.resync.Reset(s.failed.next(next.err))
		s.whole = false
		return nil
	}
	s.whole = true
	s.failed.reset()
	s.pause.reset()
	s.settle(next.index, s.matches, next.listed)
	if s.stream != nil {
		s.floor = next.index
	}
	s.read = time.Now()
	if !s.any || s.origin != OriginLive {
		s.any, s.origin, s.dirty = true, OriginLive, true
	}
	s.publish()
	phase := Live
	if s.stream == nil {
		phase = Polling
	}
	s.up(phase, s.services, s.problem)
	s.resync.Reset(around(s.options.Resync))
	if s.again {
		s.scan(ctx)
	}
	return nil
}

// settleForLists makes the session wait for lists, because the stream is
// refused.
func (s *session) settleForLists(ctx context.Context, refusal error) error {
	if s.scope == nomad.AllNamespaces {
		_, _, err := s.options.Client.Services(ctx, nomad.Query{Namespace: s.scope, Stale: true})
		switch {
		case err == nil:
		case errors.Is(err, nomad.ErrForbidden):
			if s.scopes = s.readable(ctx); len(s.scopes) == 0 {
				return s.missing(err)
			}
		default:
			return err
		}
	}
	s.problem = s.missing(refusal)
	s.options.Logger.Warn("the event stream is refused: waiting for lists instead, which is slower and costs the servers more", "scopes", s.scopes, "error", s.problem)
	for _, scope := range s.scopes {
		s.run.Go(func() { s.watchList(ctx, scope) })
	}
	return nil
}

// missing says which right would be needed.
func (s *session) missing(cause error) error {
	return fmt.Errorf(`%w; add to the policy of serai's job: namespace %q { capabilities = ["read-job"] }, and the same capability to each namespace that has a block of its own`, cause, s.scope)
}

// watchList tells when a list has changed.
func (s *session) watchList(ctx context.Context, scope string) {
	var pause backoff
	q := nomad.Query{Namespace: scope, Stale: true, Index: 1}
	for ctx.Err() == nil {
		_, meta, err := s.options.Client.Services(ctx, q)
		if err != nil {
			if sleep(ctx, pause.next(err)) != nil {
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
		case s.lists <- struct{}{}:
		default:
		}
		// Changes come in crowds.
		if sleep(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

// watchNamespaces tells which namespaces exist, after each change. Without the
// right to list them the resync must do.
func (s *session) watchNamespaces(ctx context.Context, index uint64) {
	var pause backoff
	for ctx.Err() == nil {
		names, meta, err := s.options.Client.Namespaces(ctx, nomad.Query{Stale: true, Index: index})
		if err != nil {
			if sleep(ctx, max(time.Second, pause.next(err))) != nil {
				return
			}
			continue
		}
		pause.reset()
		if meta.Index == index && index > 0 {
			continue
		}
		index = max(meta.Index, 1)
		select {
		case s.spaces <- names:
		case <-ctx.Done():
			return
		}
	}
}

func setOf(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
}

// subscribe opens a second stream when a namespace is new: the one that runs
// never tells of it.
func (s *session) subscribe(ctx context.Context, names []string) {
	fresh := slices.ContainsFunc(names, func(name string) bool { return !s.names[name] && s.matches(name) })
	if !fresh || s.stream == nil {
		s.names = setOf(names)
		if fresh {
			s.scan(ctx)
		}
		return
	}
	s.run.Go(func() {
		stream, err := s.options.Client.Stream(ctx, s.scope, 0)
		select {
		case s.opened <- opening{stream, names, err}:
		case <-ctx.Done():
			if err == nil {
				stream.Close()
			}
		}
	})
}

// reopened goes over to a new stream. It begins with events that the old one
// has told, which say nothing new.
func (s *session) reopened(ctx context.Context, o opening) {
	if o.err != nil {
		s.options.Logger.Warn("a namespace is new, and cannot be subscribed to yet", "error", o.err)
		s.set(func(status *Status) { status.Problem = o.err.Error() })
		s.run.Go(func() {
			if sleep(ctx, around(5*time.Second)) == nil {
				select {
				case s.spaces <- o.names:
				case <-ctx.Done():
				}
			}
		})
		return
	}
	s.stream.Close()
	s.names = setOf(o.names)
	s.follow(ctx, o.stream)
	s.scan(ctx)
}
