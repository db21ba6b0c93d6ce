package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"serai/nomad"
)

// wanted is what must be read after the current reading.
type wanted struct {
	all, check bool
	namespaces map[string]bool
}

// scan starts to read everything, or notes that it must be read again.
func (s *session) scan(ctx context.Context) {
	if s.scanning != nil {
		s.wanted.all = true
		return
	}
	s.begin(ctx, &scan{scopes: slices.Clone(s.scopes)})
}

// look starts to list some namespaces, of which nothing may be known yet, and reads
// what is new there.
func (s *session) look(ctx context.Context, names []string) {
	if s.scanning != nil {
		if s.wanted.namespaces == nil {
			s.wanted.namespaces = make(map[string]bool)
		}
		maps.Copy(s.wanted.namespaces, setOf(names))
		return
	}
	next := &scan{scopes: names, partial: true}
	if s.stream == nil {
		next.unchanged = s.polledAt()
	}
	s.begin(ctx, next)
}

// readAgain is how often one namespace is read again although nothing indicates that it
// changed: once in so many checks, an hour. The index of its list is the index of all
// namespaces, so it proves nothing when others change.
const readAgain = 6

// check starts to list everything, and reads only services that may differ from what is
// known.
func (s *session) check(ctx context.Context) {
	s.fetching, s.due = false, time.Time{}
	switch {
	case s.scanning != nil:
		s.wanted.check = true
	case s.stream == nil:
		s.begin(ctx, &scan{scopes: slices.Clone(s.scopes), unchanged: s.polledAt()})
	case !s.mark.whole:
		s.scan(ctx)
	default:
		s.checks++
		heard := func(string) uint64 { return s.heardAt.Load() }
		s.begin(ctx, &scan{scopes: slices.Clone(s.scopes), unchanged: heard, check: true,
			trusting: s.scope != nomad.AllNamespaces && s.checks%readAgain != 0})
	}
}

func (s *session) begin(ctx context.Context, next *scan) {
	next.watcher, next.cold, next.steps, next.large = s.Watcher, !s.any, make(chan step), make(chan struct{}, 1)
	next.streaming, next.heard = s.stream != nil, s.heardAt.Load
	next.known = make(map[Key]known, len(s.services))
	for key := range s.view.known {
		next.known[key] = known{at: s.asOf(key)}
	}
	for key, service := range s.services {
		k := known{at: s.asOf(key), served: true, tags: service.tags()}
		if service.Refused != nil {
			k.tags = nil // there may be room for the rest now
			k.unread = service.Refused.Cause != ""
		}
		next.known[key] = k
	}
	next.doubtful = make(map[string]bool)
	for _, f := range s.forbidden {
		next.doubtful[f.Namespace] = true
	}
	maps.Copy(next.doubtful, s.missed)
	s.scanning = next
	s.run.Go(func() { next.run(ctx) })
}

// step applies what the scan has read.
func (s *session) step(ctx context.Context, next step) error {
	switch {
	case next.restored:
		s.options.Logger.Warn("nomad has gone back to an older state, as after a restored snapshot; all services are read again")
		s.floor, s.mark, s.polled = 0, mark{}, nil
		s.heardAt.Store(0)
		clear(s.known)
		s.set(func(status *Status) { status.Index = 0 })
		s.course = unread
		s.wanted.all = s.wanted.all || s.scanning.partial
		return nil
	case next.end:
		return s.ended(ctx, next)
	}
	if next.tooLong {
		s.refuse(next.key, &Refused{Instances: 1, Quota: unreadQuota})
	} else {
		s.replace(next.key, next.regs, next.index)
	}
	for _, e := range s.recent.of(next.key) {
		s.apply(e, time.Now())
	}
	s.publish()
	return nil
}

// ended applies the lists, and goes on to what must be read next.
func (s *session) ended(ctx context.Context, next step) error {
	scanned := s.scanning
	s.scanning = nil
	s.noteLost(scanned, next.err == nil && !next.unheard)
	switch {
	case next.err != nil:
		return s.notRead(scanned, next.err)
	case next.unheard:
		// The stream does not cover everything: it may come from a server that did not
		// know of a namespace yet.
		s.options.Logger.Warn("services have changed without an event; they are read again", "source", "nomad "+s.scope)
		s.mark = mark{}
		s.renew(ctx, s.names)
		return nil
	}
	s.failed.reset()
	s.pause.reset()
	for namespace, n := range next.left {
		s.options.Logger.Warn("a namespace has more services than are kept (--max-registrations-namespace); some are not read", "namespace", namespace, "services", n)
	}
	// A trusting scan does not wait for events that the stream will still send.
	full := scanned.streaming && !scanned.partial && !scanned.trusting
	again := s.vanished(scanned, &next)
	for key, err := range next.unread {
		s.refuse(key, &Refused{Instances: 1, Cause: err.Error(), Unaskable: errors.Is(err, nomad.ErrUnaskable)})
	}
	s.settle(next.index, next.confirmed, next.listed, full)
	s.allowOnly(scanned, next)
	if scanned.streaming {
		s.covered(scanned, next)
	} else {
		s.notePolled(next)
	}
	if !s.any || s.origin != OriginLive {
		s.any, s.origin, s.dirty = true, OriginLive, true
	}
	s.read = time.Now()
	s.publish()
	if !scanned.partial {
		s.set(func(status *Status) { status.Scans++ })
	}
	if s.stream == nil {
		s.up(Polling, s.services, s.problem)
	} else if s.course == following {
		s.up(Live, s.services, nil)
	}
	s.planCheck(scanned, &next, again)
	if full {
		s.wanted.namespaces = s.unlisted(next)
	}
	s.goOn(ctx)
	return nil
}

// notePolled notes up to which index lists have been read, where there is no stream.
func (s *session) notePolled(next step) {
	if s.polled == nil {
		s.polled = make(map[string]uint64)
	}
	maps.Copy(s.polled, next.indexes)
	if !s.mark.whole {
		s.forget(next.index) // no stream will begin before this index
	}
}

// planCheck sets when everything is checked again: soon if what was read may be wrong, or
// lacks something. Again says that a namespace may have been deleted.
func (s *session) planCheck(scanned *scan, next *step, again bool) {
	if !scanned.partial {
		s.checkIn(around(s.options.Resync))
	}
	if next.unsure || again || scanned.streaming && scanned.partial {
		// The server that streams may not have known the namespace.
		s.checkWithin(around(min(s.options.Resync, 10*time.Second)))
	}
	if len(next.unread) == 0 {
		s.unwell = 0
		return
	}
	s.unwell++
	s.checkWithin(s.unreadAgain())
}

// unlisted are the namespaces of services that are in no list, although nothing newer
// is known about them: the stream began with old events, and the ones that ended these
// services were ignored as old. These namespaces are listed by name.
func (s *session) unlisted(next step) map[string]bool {
	names := s.wanted.namespaces
	for key := range s.services {
		if !next.listed[key] && s.asOf(key) <= next.index && !next.confirmed[key.Namespace] && next.forbidden[key.Namespace] == nil {
			if names == nil {
				names = make(map[string]bool)
			}
			names[key.Namespace] = true
		}
	}
	return names
}

// goOn starts what must be read after the current reading.
func (s *session) goOn(ctx context.Context) {
	w := s.wanted
	s.wanted = wanted{}
	switch {
	case w.all:
		s.scan(ctx)
	case w.check:
		s.wanted.namespaces = w.namespaces
		s.check(ctx)
	case len(w.namespaces) > 0:
		s.look(ctx, slices.Sorted(maps.Keys(w.namespaces)))
	}
}

// covered notes what the stream and a reading cover together.
func (s *session) covered(scanned *scan, next step) {
	switch {
	case scanned.partial && !s.mark.whole:
	case scanned.partial:
		names := maps.Clone(s.mark.names)
		for _, name := range scanned.scopes {
			names[name] = true
		}
		s.mark.names = names
	case scanned.trusting:
	case scanned.check:
		s.mark.table = max(s.mark.table, next.index)
	case !s.wanted.all:
		s.follow()
		s.mark.whole, s.mark.table, s.mark.names = true, next.index, s.names
		if s.mark.names == nil {
			s.mark.names = make(map[string]bool)
		}
	}
	s.heardAt.Store(s.mark.at())
}

// notRead goes on without what could not be read: the stream reports changes. Without a
// stream the session ends.
func (s *session) notRead(scanned *scan, err error) error {
	if s.stream == nil || !s.any {
		return err
	}
	s.trouble("services cannot be read again; events are still received", err)
	if !scanned.check || len(s.wanted.namespaces) > 0 { // whose events were left out
		s.mark, s.course = mark{}, unread
	}
	s.wanted = wanted{}
	s.checkWithin(s.failed.next(err))
	return nil
}
