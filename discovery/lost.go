package discovery

import (
	"context"
	"maps"
	"slices"
	"time"
)

// noteLost notes of which namespaces there were too many events while something was read: what
// is known of them may be older than what has been told, until they have been read again. Read
// says that the scan has read all that it was to read.
func (s *session) noteLost(scanned *scan, read bool) {
	before := maps.Clone(s.missed)
	switch {
	case !read:
	case !scanned.partial:
		clear(s.missed)
	default:
		maps.DeleteFunc(s.missed, func(namespace string, _ bool) bool { return slices.Contains(scanned.scopes, namespace) })
	}
	for namespace := range s.recent.lost {
		if !before[namespace] {
			s.options.Logger.Warn("a namespace changes faster than it can be read; it is read again", "namespace", namespace)
		}
		s.missed[namespace] = true
	}
	if s.losses++; len(s.recent.lost) == 0 {
		s.losses = 0
	}
	s.recent = newRecent(s.options.Store)
	s.readLostSoon()
}

// readLostSoon has these namespaces read again, after a pause that grows while they change as
// fast: they must not keep everything else from being read.
func (s *session) readLostSoon() {
	if len(s.missed) > 0 && s.again == nil {
		s.again = time.After(around(min(s.options.Resync, time.Second/2<<min(s.losses, 11))))
	}
}

// readLost reads them.
func (s *session) readLost(ctx context.Context) {
	if s.again = nil; len(s.missed) > 0 {
		s.look(ctx, slices.Sorted(maps.Keys(s.missed)))
	}
}

// checkIn sets when everything is checked next; checkWithin has that be no later.
func (s *session) checkIn(d time.Duration) {
	s.due = time.Now().Add(d)
	s.resync.Reset(d)
}

func (s *session) checkWithin(d time.Duration) {
	if s.due.IsZero() || time.Now().Add(d).Before(s.due) {
		s.checkIn(d)
	}
}
