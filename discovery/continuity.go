package discovery

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"serai/internal/sleep"
	"serai/nomad"
)

// mark is the point up to which everything is known. It outlives the stream that it
// comes from: a stream that begins at the mark misses nothing.
type mark struct {
	// whole says that nothing was missed up to this point. Otherwise the other fields
	// have no meaning.
	whole bool
	// batch is the first line of the newest index that the stream sent; its Index is 0
	// when it sent nothing.
	batch nomad.Batch
	// table is the index of the services when they were read completely. When one
	// namespace is watched it may be newer than any event of that namespace.
	table uint64
	// names are the namespaces that the stream covered; nil when one is watched.
	names map[string]bool
}

// at is the newest index of the services that is known.
func (m *mark) at() uint64 { return max(m.batch.Index, m.table) }

// from is the index at which a stream must begin; 0 is the oldest event that exists.
func (m *mark) from() uint64 {
	switch {
	case !m.whole:
		return 0
	case m.batch.Index > 0:
		return m.batch.Index
	}
	return m.table
}

// course is what a session must do until it knows everything.
type course int

// A stream that begins where another one ended is proving until it is known that
// nothing was missed between them; then it is following. When something was missed, or
// nothing is known yet, everything is read.
const (
	unread course = iota
	proving
	following
)

// follow notes that the stream reports all changes from now on.
func (s *session) follow() { s.course, s.short = following, 0 }

// proofWait is how long a stream may take to prove itself by its first events, before the
// leader is asked.
const proofWait = 100 * time.Millisecond

// adopt makes a stream the current one.
func (s *session) adopt(ctx context.Context, o opening) {
	if s.stream != nil {
		s.stream.Close()
	}
	s.stream, s.names, s.exist = o.stream, o.names, o.names
	s.run.Go(func() {
		for {
			batch, err := o.stream.Next()
			select {
			case s.lines <- line{o.stream, batch, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	s.run.Go(func() { s.watchToken(ctx, o.stream) })
	if !s.mark.whole || s.scanning != nil && !s.scanning.partial {
		s.mark.whole, s.course = false, unread
		s.scan(ctx)
		return
	}
	s.course = proving
	s.proof = time.After(proofWait)
}

// prove examines an event of a stream of which it is not known whether something was
// missed before it. While the agent's server remembers the last event that was received,
// it sends it again, and then everything that came after it.
func (s *session) prove(ctx context.Context, b *nomad.Batch) {
	last := &s.mark.batch
	switch {
	case b.Index < s.mark.from():
		// The server lags, or was restored: this decides nothing yet.
	case last.Index == 0 && b.Index == s.mark.table:
		// Only lists were read so far: there is no event to compare it with.
	case !sameBatch(b, last):
		// The index alone would be no proof: a rebuilt cluster counts from the start again.
		s.disproved(ctx, "the event stream begins after the last event that was received")
	case s.mark.table > last.Index && s.scope == nomad.AllNamespaces:
		// The lists are newer, so this decides no more than an older event. The list of one
		// namespace has the index of all, and may be newer than any event that it gets.
	default:
		s.proved(ctx)
	}
}

// note records the point up to which the stream has sent everything.
func (s *session) note(b *nomad.Batch) {
	if b.Index > s.mark.batch.Index {
		s.mark.batch = *b
		s.heardAt.Store(s.mark.at())
	}
}

func sameBatch(a, b *nomad.Batch) bool {
	return a.Index == b.Index && slices.EqualFunc(a.Events, b.Events, func(x, y nomad.Event) bool { return reflect.DeepEqual(x, y) })
}

// answer is the leader's answer about one service.
type answer struct {
	from  *nomad.Stream
	key   Key
	regs  []nomad.Registration
	index uint64
	err   error
}

// ask reads the service that changed last from the leader. The answer has the index of
// all services: if it is the known one, and the service is unchanged, nothing has
// happened since. Only the leader is believed: another server may lag more than the one
// that the stream comes from, and the agent chooses it.
func (s *session) ask(ctx context.Context) {
	key, ok := s.newest()
	if !ok {
		s.disproved(ctx, "there is no known service to compare")
		return
	}
	from := s.stream
	s.run.Go(func() {
		var pause backoff
		for {
			regs, meta, err := s.options.Client.Service(ctx, key.Name, nomad.Query{Namespace: key.Namespace})
			if errors.Is(err, nomad.ErrUnreachable) || errors.Is(err, nomad.ErrUnavailable) {
				if sleep.For(ctx, pause.next(err)) != nil {
					return
				}
				continue
			}
			select {
			case s.answers <- answer{from, key, regs, meta.Index, err}:
			case <-ctx.Done():
			}
			return
		}
	})
}

// newest is the service that changed last, as far as known.
func (s *session) newest() (newest Key, ok bool) {
	if len(s.mark.batch.Events) > 0 && s.mark.batch.Index == s.mark.at() {
		reg := &s.mark.batch.Events[0].Registration
		return Key{reg.Namespace, reg.ServiceName}, true
	}
	var at uint64
	for key, service := range s.services {
		for _, i := range service.Instances {
			if !ok || i.Modified > at {
				newest, at, ok = key, i.Modified, true
			}
		}
	}
	return newest, ok
}

// answered evaluates the leader's answer.
func (s *session) answered(ctx context.Context, a answer) {
	switch {
	case a.from != s.stream || s.course != proving:
	case a.err != nil:
		s.disproved(ctx, a.err.Error())
	case a.index != s.mark.at():
		s.disproved(ctx, "the services have changed in the meantime")
	case !s.agrees(&a):
		s.disproved(ctx, "the services have the known index, but differ")
	default:
		s.proved(ctx)
	}
}

// agrees reports whether a service is as it was known: each instance, and the content
// of the last event, whichever instance that was about.
func (s *session) agrees(a *answer) bool {
	now := make(map[string]*nomad.Registration, len(a.regs))
	for i := range a.regs {
		now[a.regs[i].ID] = &a.regs[i]
	}
	for i := range s.mark.batch.Events {
		e := &s.mark.batch.Events[i]
		if s.mark.batch.Index != s.mark.at() || a.key != (Key{e.Registration.Namespace, e.Registration.ServiceName}) {
			continue
		}
		if reg := now[e.Registration.ID]; e.Deleted != (reg == nil) || reg != nil && !reflect.DeepEqual(*reg, e.Registration) {
			return false
		}
	}
	service := s.services[a.key]
	if service == nil {
		return !slices.ContainsFunc(a.regs, func(r nomad.Registration) bool { return s.matches(r.Namespace) && carries(r.Tags, s.prefix) })
	}
	return slices.EqualFunc(service.Instances, allFromNomad(a.regs), same)
}

// proved goes on where the last stream ended. It reads only namespaces that the last
// stream did not cover.
func (s *session) proved(ctx context.Context) {
	s.follow()
	s.pause.reset()
	s.set(func(status *Status) { status.Continued++ })
	s.heardAt.Store(s.mark.at())
	s.allowAll()
	if s.names == nil {
		s.names = s.mark.names // the watch of namespaces begins with the known ones
	}
	var fresh []string
	for name := range s.names {
		if !s.mark.names[name] && s.matches(name) {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) > 0 {
		slices.Sort(fresh)
		s.look(ctx, fresh)
		return
	}
	s.mark.names = s.names
	s.read = time.Now()
	s.up(Live, s.services, nil)
	s.checkIn(around(s.options.Resync))
	if s.incomplete() {
		s.checkWithin(around(min(s.options.Resync, soonAgain)))
	}
}

// disproved reads everything.
func (s *session) disproved(ctx context.Context, why string) {
	s.options.Logger.Info("events may have been missed; all services are read again", "source", "nomad "+s.scope, "reason", why)
	s.mark, s.course = mark{}, unread
	s.scan(ctx)
}
