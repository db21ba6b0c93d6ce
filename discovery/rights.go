package discovery

import (
	"log/slog"
	"slices"
	"time"

	"serai/internal/history"
	"serai/nomad"
)

// forbid notes that a namespace may not be read. It matters only if something of it was
// served, or the operator named it.
func (s *session) forbid(namespace string, err error) {
	if !s.holds(namespace) && !slices.Contains(s.options.Namespaces.Names(), namespace) {
		return
	}
	if slices.ContainsFunc(s.forbidden, func(f Forbidden) bool { return f.Namespace == namespace }) {
		return
	}
	history.Tell(s.options.Logger, slog.LevelWarn, history.SourceLost, "the token no longer has permission to read a namespace; its last known services stay in use", "source", "nomad "+s.scope, "namespace", namespace, "error", err)
	s.forbidden = append(slices.Clone(s.forbidden), Forbidden{namespace, time.Now(), err.Error()})
	s.set(func(status *Status) { status.Forbidden = s.forbidden })
}

// allowAll notes that all namespaces may be read.
func (s *session) allowAll() { s.allow(func(string) bool { return true }) }

func (s *session) allow(is func(namespace string) bool) {
	s.forbidden = slices.DeleteFunc(slices.Clone(s.forbidden), func(f Forbidden) bool { return is(f.Namespace) })
	s.set(func(status *Status) { status.Forbidden = s.forbidden })
}

// allowOnly notes what the lists of a reading showed about permissions.
func (s *session) allowOnly(scanned *scan, next step) {
	s.allow(func(namespace string) bool {
		return next.forbidden[namespace] == nil &&
			(slices.Contains(scanned.scopes, namespace) || slices.Contains(scanned.scopes, nomad.AllNamespaces))
	})
	for namespace, err := range next.forbidden {
		s.forbid(namespace, err)
	}
}

// vanished decides that namespaces are deleted that are refused by name, and do not
// exist as far as the token may know, while the stream of all namespaces goes on: Nomad
// would have ended it if one were forbidden. It reports whether to check once more,
// since a permission may be lost at this very moment.
func (s *session) vanished(scanned *scan, next *step) (again bool) {
	if s.stream == nil || !scanned.streaming || s.scope != nomad.AllNamespaces || s.exist == nil {
		return false
	}
	doubted := make(map[string]time.Time)
	for namespace := range next.forbidden {
		since, ok := s.doubted[namespace]
		switch {
		case s.exist[namespace]:
		case ok && time.Since(since) > lingering:
			s.options.Logger.Info("a namespace was deleted", "namespace", namespace)
			delete(next.forbidden, namespace)
			next.confirmed[namespace] = true
		case ok:
			doubted[namespace], again = since, true
		default:
			doubted[namespace], again = time.Now(), true
		}
	}
	s.doubted = doubted
	return again
}

// lingering is the longest time for which a stream goes on after a permission is lost.
const lingering = 5 * time.Second
