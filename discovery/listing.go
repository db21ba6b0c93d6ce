package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"serai/internal/sleep"
	"serai/nomad"
)

// row is what is kept of a row of a list: of a service that carries our tags, or is served.
// Differs says that it is not served, or may have other tags than what is served.
type row struct {
	Key
	differs bool
}

// rowBytes is what a row takes beside its texts, here and in what follows from it.
const rowBytes = 256

// list reads the names of one scope. Any server may answer; but when the answer would
// remove something that is served, or is older than what is known, the leader is asked.
// A list of all namespaces omits forbidden ones: a namespace in which something is
// missing is listed by name.
func (s *scan) list(ctx context.Context, scope string, l *listing) ([]row, uint64, error) {
	rows, at, err := s.ask(ctx, scope, nomad.Query{Namespace: scope, Stale: !s.leaderOnly}, l)
	if err != nil || l.forbidden[scope] != nil {
		return nil, 0, err
	}
	if at < s.least || s.older(scope, at) || len(s.missing(scope, rows)) > 0 {
		end := time.Now().Add(commit)
		for again := true; again; {
			if rows, at, err = s.ask(ctx, scope, nomad.Query{Namespace: scope}, l); err != nil || l.forbidden[scope] != nil {
				return nil, 0, err
			}
			switch again = s.older(scope, at); {
			case again && time.Now().After(end):
				s.restored(ctx)
			case again:
				if err := sleep.For(ctx, 50*time.Millisecond); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	if scope != nomad.AllNamespaces {
		l.confirmed[scope] = true
		return rows, at, nil
	}
	for _, namespace := range s.missing(scope, rows) {
		some, index, err := s.ask(ctx, namespace, nomad.Query{Namespace: namespace}, l)
		if err != nil {
			return nil, 0, err
		}
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.Namespace == namespace })
		if l.forbidden[namespace] == nil {
			l.confirmed[namespace] = true
			rows, at = append(rows, some...), min(at, index)
		}
	}
	return rows, at, nil
}

// ask lists one scope. A forbidden namespace is noted, and is not an error. What it keeps of
// the list has the bounds of the Store; what is served is always kept.
func (s *scan) ask(ctx context.Context, scope string, q nomad.Query, l *listing) (rows []row, index uint64, err error) {
	full, left := s.watcher.options.Store.rows(), make(map[string]int)
	meta, err := s.watcher.options.Client.EachService(ctx, q, func(stub nomad.ServiceStub) error {
		key := Key{stub.Namespace, stub.ServiceName}
		k := s.known[key]
		if !s.watcher.matches(key.Namespace) || !k.served && !stub.Cut && !carries(stub.Tags, s.watcher.options.Prefix) {
			return nil
		}
		if _, ok := full.take(key.Namespace, size{1, rowBytes + len(key.Name)}); !ok && !k.served {
			left[key.Namespace]++
			return nil
		}
		rows = append(rows, row{key, !k.served || stub.Cut || !slices.Equal(k.tags, sortedSet(stub.Tags))})
		return nil
	})
	if errors.Is(err, nomad.ErrForbidden) && scope != nomad.AllNamespaces && s.watcher.scope != scope {
		l.forbidden[scope] = err
		return nil, 0, nil
	}
	maps.Copy(l.left, left)
	return rows, meta.Index, err
}

// missing are the namespaces in which a list lacks a service that is served.
func (s *scan) missing(scope string, rows []row) (namespaces []string) {
	has := make(map[Key]bool, len(rows))
	for _, r := range rows {
		has[r.Key] = true
	}
	lacks := make(map[string]bool)
	for key, k := range s.known {
		if (scope == nomad.AllNamespaces || scope == key.Namespace) && k.served && !has[key] {
			lacks[key.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(lacks))
}

// uncared is for lists of which only the index matters, or whether they are allowed.
func uncared(nomad.ServiceStub) error { return nil }
