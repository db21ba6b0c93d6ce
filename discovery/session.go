package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/sleep"
	"serai/nomad"
)

// session is one period of following Nomad: from a subscription (or, if that is
// refused, a list) until it breaks.
type session struct {
	*Watcher
	*knowledge
	pause *backoff
	run   *sync.WaitGroup

	// stream is nil while lists are followed; course belongs to the stream.
	stream *nomad.Stream
	course course
	lines  chan line
	names  map[string]bool // namespaces that the stream covers; nil when unknown
	exist  map[string]bool // namespaces that exist, as far as the token may know
	// doubted are namespaces that were refused although the stream is not, and since
	// when.
	doubted map[string]time.Time
	spaces  chan []string
	opened  chan opening
	// outdated are streams whose token has been replaced; renewing counts the attempts to
	// subscribe once more, of which begun were begun and adopted is the last one that succeeded.
	outdated       chan *nomad.Stream
	renewing       int
	begun, adopted int
	proof          <-chan time.Time // ends the wait for the events that prove
	answers        chan answer
	silent         chan uint64 // see watchSilence
	// heardAt is mark.at, for scans.
	heardAt atomic.Uint64

	problem error       // why there is no stream
	scopes  []string    // the scopes that are listed
	lists   chan string // a scope whose list has changed

	scanning *scan
	wanted   wanted  // what must be read after scanning
	recent   *recent // while something is read
	failed   backoff // of scans
	resync   *time.Timer
	due      time.Time        // when it ends, zero once it has
	again    <-chan time.Time // ends the pause before lost namespaces are read
	checks   int
	// fetching says that resync is set for registrations that had no room.
	fetching bool
	unwell   int // scans in a row with services that could not be read
}

// line is one message of a stream.
type line struct {
	from  *nomad.Stream
	batch nomad.Batch
	err   error
}

// opening is the result of an attempt to subscribe.
type opening struct {
	stream *nomad.Stream
	// names are the namespaces that existed before: the stream covers at least these.
	// nil when unknown.
	names map[string]bool
	index uint64 // of the list of names
	turn  int    // among the attempts to subscribe once more
	err   error
}

// open subscribes from an index on.
func (s *session) open(ctx context.Context, from uint64) opening {
	var o opening
	if s.scope == nomad.AllNamespaces {
		names, meta, err := s.options.Client.Namespaces(ctx, nomad.Query{Stale: true})
		if err == nil {
			o.names, o.index = setOf(names), meta.Index
		}
	}
	o.stream, o.err = s.options.Client.Stream(ctx, s.scope, from)
	return o
}

// watch runs the session with a stream that was opened before, or a new one. It returns
// an opened stream for the next session, or nil without an error when a new session
// should begin although nothing broke.
func (s *session) watch(outer context.Context, given *opening) (*opening, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	s.lines, s.lists, s.answers = make(chan line), make(chan string), make(chan answer)
	s.spaces, s.opened, s.silent = make(chan []string), make(chan opening), make(chan uint64)
	s.outdated = make(chan *nomad.Stream)
	s.recent = newRecent(s.options.Store)
	s.scopes = []string{s.scope}
	s.heardAt.Store(s.mark.at())
	s.resync = time.NewTimer(s.options.Resync)
	defer s.resync.Stop()
	s.checkIn(around(s.options.Resync))
	s.readLostSoon()
	tried := given != nil // while lists were followed
	if given == nil {
		open := func() opening { return s.open(ctx, s.mark.from()) }
		if s.any {
			// Lists show more than a silence that may be a refusal.
			open = func() opening { return s.openSoon(ctx, ctx, s.mark.from()) }
		}
		o := open()
		given = &o
	}
	defer func() {
		if s.stream != nil {
			s.stream.Close()
		}
	}()
	switch err := given.err; {
	case err == nil && !tried && s.short >= tolerated:
		given.stream.Close()
		if err := s.poll(ctx, outer, errShort, given.names); err != nil {
			return nil, err
		}
	case err == nil:
		s.unavailable = 0
		s.adopt(ctx, *given)
		if s.scope == nomad.AllNamespaces {
			s.run.Go(func() { s.watchNamespaces(ctx, given.index) })
			s.run.Go(func() { s.watchSilence(ctx) })
		}
	case s.hopeless(err):
		if err := s.poll(ctx, outer, err, given.names); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	return s.loop(ctx)
}

// tolerated is how many streams in a row an agent may fail to open, while it answers
// otherwise, or end before everything has been read, until lists are followed instead.
const tolerated = 16

// errShort is why lists are followed where a proxy before the agent cuts streams, or the agent
// sends what cannot be read.
var errShort = errors.New("the event stream ends again and again before everything could be read")

// hopeless reports whether a failed stream should be replaced by lists for a while.
func (s *session) hopeless(err error) bool {
	// A proxy between serai and the agent may answer 404, or with a page, where it does not
	// let the stream through. What is no agent at all fails with the lists, too.
	if errors.Is(err, nomad.ErrUnavailable) || errors.Is(err, nomad.ErrBadAnswer) {
		s.unavailable++
		return s.unavailable >= tolerated
	}
	return refused(err)
}

func (s *session) loop(ctx context.Context) (*opening, error) {
	for {
		var steps chan step
		if s.scanning != nil {
			steps = s.scanning.steps
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case l := <-s.lines:
			if err := s.heard(ctx, l); err != nil {
				return nil, err
			}
		case <-s.proof:
			if s.course == proving {
				s.ask(ctx)
			}
		case a := <-s.answers:
			s.answered(ctx, a)
		case next := <-steps:
			if err := s.step(ctx, next); err != nil {
				return nil, err
			}
		case scope := <-s.lists:
			s.look(ctx, []string{scope})
		case names := <-s.spaces:
			s.named(ctx, names)
		case o := <-s.opened:
			if s.stream == nil {
				return s.allowed(o), nil
			}
			s.reopened(ctx, o)
		case old := <-s.outdated:
			s.replaceOutdated(ctx, old)
		case <-s.resync.C:
			s.check(ctx)
		case at := <-s.silent:
			s.checkSilence(ctx, at)
		case <-s.again:
			s.readLost(ctx)
		}
	}
}

// heard applies one message of the stream.
func (s *session) heard(ctx context.Context, l line) error {
	if l.from != s.stream {
		return nil // from the last stream
	}
	if l.err != nil {
		if s.course != following {
			s.short++
		}
		return l.err
	}
	if l.batch.Lost {
		s.disproved(ctx, "a line of the event stream was too long to be read")
	}
	if l.batch.Index > 0 {
		if s.course == proving {
			s.prove(ctx, &l.batch)
		}
		if s.course != proving {
			s.note(&l.batch)
		}
	}
	for i := range l.batch.Events {
		e := &l.batch.Events[i]
		if !s.matches(e.Registration.Namespace) {
			continue
		}
		if s.scanning != nil {
			s.recent.add(e)
		}
		s.apply(e, l.batch.Received)
	}
	s.fetchRefused()
	s.set(func(status *Status) {
		status.Heard = l.batch.Received
		status.Index = max(status.Index, l.batch.Index)
		status.Events += uint64(len(l.batch.Events))
	})
	s.publish()
	return nil
}

// soonAgain is when everything is checked again once there may be room for registrations
// that had none.
const soonAgain = 30 * time.Second

// fetchRefused has registrations read soon that had no room, when others have gone.
func (s *session) fetchRefused() {
	if s.lacks() && !s.fetching {
		s.fetching = true
		s.checkWithin(around(min(s.options.Resync, soonAgain)))
	}
}

// publish sends what has changed, once everything is known.
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

// watchNamespaces reports which namespaces exist, after each change. Without permission
// to list them, only the resync finds new ones.
func (s *session) watchNamespaces(ctx context.Context, index uint64) {
	var pause backoff
	turns := newTurns()
	for turns.Wait(ctx) == nil {
		names, meta, err := s.options.Client.Namespaces(ctx, nomad.Query{Stale: true, Index: index})
		if err != nil {
			if sleep.For(ctx, max(time.Second, pause.next(err))) != nil {
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

// named opens a second stream when there is a new namespace: the current one will never
// report it.
func (s *session) named(ctx context.Context, names []string) {
	s.exist = setOf(names)
	if slices.ContainsFunc(names, func(name string) bool { return !s.names[name] && s.matches(name) }) {
		s.renew(ctx, setOf(names))
	}
}

// tokenLook is how often a stream's token is compared with the one that would be sent now.
// Nomad renews an identity after half of its life, so serai has a new stream long before the
// end, unless the life is that short.
const tokenLook = 5 * time.Second

// watchToken reports a stream whose token has been replaced, until it ends.
func (s *session) watchToken(ctx context.Context, stream *nomad.Stream) {
	for stream.Outdated(tokenLook) {
		select {
		case s.outdated <- stream:
		case <-ctx.Done():
			return
		}
	}
}

// replaceOutdated opens a second stream with the new token. While everything is read, that
// would begin again with another stream: it has to wait.
func (s *session) replaceOutdated(ctx context.Context, old *nomad.Stream) {
	if old == s.stream && s.course == following && s.scanning == nil && s.renewing == 0 {
		s.renew(ctx, s.exist)
	}
}

// renew subscribes once more.
func (s *session) renew(ctx context.Context, names map[string]bool) {
	s.begun++
	s.subscribe(ctx, names, s.begun, 0)
}

// subscribe does so after a pause.
func (s *session) subscribe(ctx context.Context, names map[string]bool, turn int, after time.Duration) {
	s.renewing++
	from := s.mark.from()
	s.run.Go(func() {
		if sleep.For(ctx, after) != nil {
			return
		}
		stream, err := s.options.Client.Stream(ctx, s.scope, from)
		select {
		case s.opened <- opening{stream: stream, names: names, turn: turn, err: err}:
		case <-ctx.Done():
			if err == nil {
				stream.Close()
			}
		}
	})
}

// reopened switches to a new stream. It begins with events that the old one has sent,
// which change nothing. One that was begun before the current one, and took longer, knows
// less of namespaces and tokens: it is not used.
func (s *session) reopened(ctx context.Context, o opening) {
	s.renewing--
	switch {
	case o.turn < s.adopted:
		if o.err == nil {
			o.stream.Close()
		}
	case o.err == nil:
		s.adopted = o.turn
		s.adopt(ctx, o)
	default:
		s.trouble("cannot subscribe once more yet", o.err)
		s.subscribe(ctx, o.names, o.turn, around(5*time.Second))
	}
}
