package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"serai/internal/history"
)

// settle notes when everything is known.
func (r *consulRun) settle() {
	if r.unread > 0 || r.catalog == 0 {
		return
	}
	r.read = time.Now()
	if !r.complete {
		r.complete, r.dirty = true, true
	}
	r.tell()
}

// publish sends what has changed, once everything is known.
func (r *consulRun) publish() {
	if !r.dirty || !r.complete && r.options.Initial == nil {
		return
	}
	s := r.snapshot()
	s.Read = r.read
	if !r.complete {
		s.Origin = OriginCache
	}
	r.set(func(status *Status) { status.count(s.Services) })
	r.box.put(s)
	r.fetchRefused()
}

// fetchRefused has registrations read again soon that had no room, when others have gone.
func (r *consulRun) fetchRefused() {
	if !r.lacks() || r.fetching {
		return
	}
	r.fetching = true
	r.do(r.ctx, around(soonAgain), func(context.Context) func() {
		return func() {
			r.fetching = false
			for _, f := range r.followed {
				if s := r.services[f.key]; s == nil || s.Refused != nil {
					r.giveUp(f)
					r.enqueue(f, false)
				}
			}
		}
	})
}

// trouble notes that something cannot be asked. Only what is new is logged.
func (r *consulRun) trouble(of string, err error) {
	if old := r.troubles[of]; old == nil || old.Error() != err.Error() {
		if len(r.troubles) == 0 {
			history.Tell(r.options.Logger, slog.LevelWarn, history.SourceLost, "services cannot be read from consul; the last known ones stay in use", "source", "consul", "asked", of, "error", err)
		}
		r.troubles[of] = err
		r.set(func(s *Status) { s.Breaks++ })
	}
	r.tell()
}

// well notes that something is answered.
func (r *consulRun) well(of string) {
	if r.troubles[of] != nil {
		delete(r.troubles, of)
		r.tell()
	}
}

// tell brings the status up to date.
func (r *consulRun) tell() {
	problem := r.problem()
	r.set(func(s *Status) {
		was, now := s.Phase, time.Now()
		s.Problem = problem
		s.Away = !r.complete && (r.troubles[theAgent] != nil || r.troubles[theCatalog] != nil)
		s.Read = r.read
		switch {
		case !r.complete: // starting, or cached
		case r.troubles[theAgent] != nil || r.troubles[theCatalog] != nil:
			s.Phase = Stale
		default:
			s.Phase = Live
		}
		if s.Phase == was {
			return
		}
		s.Since = now
		if s.Phase == Stale && s.Heard.After(s.Read) {
			s.Since = s.Heard
		}
		if s.Phase == Live {
			history.Tell(r.options.Logger, slog.LevelInfo, history.SourceBack, "services from consul are up to date", "source", "consul", "was", string(was), "services", len(r.services))
		}
	})
	r.set(func(s *Status) {
		forbidden := s.Forbidden
		s.Forbidden = nil
		for _, f := range forbidden {
			if len(r.hidden) > 0 {
				s.Forbidden = []Forbidden{f}
			}
		}
		if len(r.hidden) > 0 && s.Forbidden == nil {
			s.Forbidden = []Forbidden{{ConsulNamespace, time.Now(), r.hiddenInWords()}}
		}
	})
}

// shownServices is how many services a problem names.
const shownServices = 3

func (r *consulRun) hiddenInWords() string {
	names := slices.Sorted(maps.Keys(r.hidden))
	return fmt.Sprintf("the token may not read all of %s: its last known instances stay in use; the token needs service_prefix \"\" { policy = \"read\" } and node_prefix \"\" { policy = \"read\" }",
		some(names))
}

// some are the first few of many names.
func some(names []string) string {
	text := fmt.Sprintf("%q", names[:min(len(names), shownServices)])
	text = text[1 : len(text)-1]
	if more := len(names) - shownServices; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// problem is what is wrong, in words.
func (r *consulRun) problem() string {
	for _, of := range []string{theAgent, theCatalog} {
		if err := r.troubles[of]; err != nil {
			return err.Error()
		}
	}
	if len(r.troubles) > 0 {
		names := slices.Sorted(maps.Keys(r.troubles))
		return fmt.Sprintf("%d of %d services cannot be read, their last known instances stay in use: %s: %v", len(names), len(r.followed), some(names), r.troubles[names[0]])
	}
	return r.wentBack
}
