package discovery

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"serai/nomad"
)

// mark is how far everything is known. It outlives the stream that told it: a
// stream that begins here misses nothing.
type mark struct {
	// whole says that nothing was missed up to here. Otherwise the rest is
	// worth nothing.
	whole bool
	// batch is the first line of the newest index that the stream told; its
	// Index is 0 when it told nothing.
	batch nomad.Batch
	// table is the index of the services when they were read completely. Where
	// one namespace is watched it may be newer than any of its events.
	table uint64
	// names are the namespaces that the stream covered; nil where one is
	// watched.
	names map[string]bool
}

// at is the index of the services as far as they are known.
func (m *mark) at() uint64 { return max(m.batch.Index, m.table) }

// from is where a stream has to begin; 0 is the oldest event that there is.
func (m *mark) from() uint64 {
	switch {
	case !m.whole:
		return 0
	case m.batch.Index > 0:
		return m.batch.Index
	}
	return m.table
}

// course is what has to happen until a session knows everything.
type course int

// A stream that begins where another ended is proving until it is known that
// nothing was missed between them; then it is following. Where something was
// missed, or nothing is known yet, everything is read.
const (
	unread course = iota
	proving
	following
)

// prompt is how long a stream may take to tell its first event before it is
// proved in another way.
const prompt = 100 * time.Millisecond

// adopt makes a stream the one that is heard.
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
	if !s.mark.whole || s.scanning != nil && !s.scanning.partial {
		s.mark.whole, s.course = false, unread
		s.scan(ctx)
		return
	}
	s.course = proving
	s.proof = time.After(prompt)
}

// weigh looks at the first events of a stream that must be proved. The event
// that was heard last comes again while the agent's server remembers it: then
// all that came after it comes, too. The index alone is no proof, since a
// cluster that was built anew counts again. What is older comes from a server
// that lags, or that was restored: that says nothing yet. Nor does an event that
// is older than what was listed, but where one namespace is watched: its list has
// the index of all.
func (s *session) weigh(ctx context.Context, b *nomad.Batch) {
	last := &s.mark.batch
	switch {
	case b.Index < s.mark.from(), b.Index == s.mark.table && last.Index == 0:
	case b.Index == last.Index && sameBatch(b, last):
		if s.mark.table <= last.Index || s.scope != nomad.AllNamespaces {
			s.proved(ctx)
		}
	default:
		s.disproved(ctx, "the event stream begins behind what was heard last")
	}
}

// note remembers how far the stream has told everything.
func (s *session) note(b *nomad.Batch) {
	if b.Index > s.mark.batch.Index {
		s.mark.batch = *b
		s.heardAt.Store(s.mark.at())
	}
}

func sameBatch(a, b *nomad.Batch) bool {
	return a.Index == b.Index && slices.EqualFunc(a.Events, b.Events, func(x, y nomad.Event) bool { return reflect.DeepEqual(x, y) })
}

// answer is what the leader said of one service.
type answer struct {
	from  *nomad.Stream
	key   Key
	regs  []nomad.Registration
	index uint64
	err   error
}

// ask reads the service that changed last from the leader. Its answer has the
// index of all services: where that is what is known, and the service is as it
// was, nothing has happened since. Only the leader is believed: another server
// may lag more than the one that the stream comes from, and the agent chooses.
func (s *session) ask(ctx context.Context) {
	key, ok := s.newest()
	if !ok {
		s.disproved(ctx, "nothing is known that could be compared")
		return
	}
	from := s.stream
	s.run.Go(func() {
		var pause backoff
		for {
			regs, meta, err := s.options.Client.Service(ctx, key.Name, nomad.Query{Namespace: key.Namespace})
			if errors.Is(err, nomad.ErrUnreachable) || errors.Is(err, nomad.ErrUnavailable) {
				if sleep(ctx, pause.next(err)) != nil {
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

// newest is the service that changed last, as far as is known.
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

// answered weighs what the leader said.
func (s *session) answered(ctx context.Context, a answer) {
	switch {
	case a.from != s.stream || s.course != proving:
	case a.err != nil:
		s.disproved(ctx, a.err.Error())
	case a.index != s.mark.at():
		s.disproved(ctx, "the services have changed meanwhile")
	case !s.agrees(&a):
		s.disproved(ctx, "the services have the index that they had, but are others")
	default:
		s.proved(ctx)
	}
}

// agrees reports whether a service is as it was known: each instance, and what
// the last event said of any.
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

// proved goes on where the last stream ended. Only namespaces are read that it
// did not cover.
func (s *session) proved(ctx context.Context) {
	s.course = following
	s.pause.reset()
	s.set(func(status *Status) { status.Continued++ })
	s.heardAt.Store(s.mark.at())
	s.allowAll()
	if s.names == nil {
		s.names = s.mark.names // the watch over them begins with what there is
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
	s.resync.Reset(around(s.options.Resync))
}

// disproved reads everything.
func (s *session) disproved(ctx context.Context, why string) {
	s.options.Logger.Info("what happened while nomad was not heard cannot be told; everything is read again", "source", "nomad "+s.scope, "reason", why)
	s.mark, s.course = mark{}, unread
	s.scan(ctx)
}
