package tls

import (
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store holds the certificates of all sources, and the current Table of them. All
// methods may be called concurrently.
type Store struct {
	current    atomic.Pointer[Table]
	unknown    atomic.Uint64
	handshakes sync.Map // handshakeKind -> *atomic.Uint64

	mu      sync.Mutex
	sources map[string]source
	tickets []TicketKey
	configs []*serverConfig
}

// source is what one source has set.
type source struct {
	all      []*Certificate
	fallback *Certificate
}

// NewStore returns a Store with an empty table.
func NewStore() *Store {
	s := &Store{sources: make(map[string]source)}
	s.current.Store(NewTable(nil, nil))
	return s
}

// Set replaces what a source has set, and publishes a new table. Fallback answers names
// that no certificate covers; nil for none.
func (s *Store) Set(name string, all []*Certificate, fallback *Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources[name] = source{all, fallback}
	s.publish()
}

// publish makes a new table. The caller holds s.mu.
func (s *Store) publish() *Table {
	var together []*Certificate
	var fallback *Certificate
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		from := s.sources[name]
		together = append(together, from.all...)
		if fallback == nil {
			fallback = from.fallback
		}
	}
	t := NewTable(together, fallback)
	s.current.Store(t)
	return t
}

// Current returns the current table. Where a certificate has expired, or begun to be
// valid, since it was made, the first caller makes a new one; others do not wait for it.
func (s *Store) Current() *Table {
	t := s.current.Load()
	if t.until.IsZero() || !time.Now().After(t.until) || !s.mu.TryLock() {
		return t
	}
	defer s.mu.Unlock()
	if fresh := s.current.Load(); fresh != t {
		return fresh
	}
	return s.publish()
}

// UnknownNames returns how many handshakes asked for a name without a
// certificate.
func (s *Store) UnknownNames() uint64 { return s.unknown.Load() }

// Given reports whether an operator gave a certificate for a name that is still valid:
// then none needs to be obtained.
func (s *Store) Given(name string) bool {
	c := s.Current().covering(normal(name))
	return c != nil && c.Given && time.Now().Before(c.Leaf.NotAfter)
}

// HandshakeCount is how many handshakes had one result.
type HandshakeCount struct {
	// Version is the protocol's, such as "TLS 1.3", empty for failed handshakes.
	Version string
	// Result is ok, resumed, or why it failed.
	Result string
	Count  uint64
}

type handshakeKind struct{ version, result string }

// Handshaken counts a handshake by its state, or its error.
func (s *Store) Handshaken(state *tls.ConnectionState, err error) {
	kind := handshakeKind{result: "failed"}
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case err == nil:
		kind = handshakeKind{tls.VersionName(state.Version), "ok"}
		if state.DidResume {
			kind.result = "resumed"
		}
	case errors.As(err, &record):
		kind.result = "not-tls"
	case errors.As(err, &alert):
		kind.result = "refused-by-client"
	case strings.Contains(err.Error(), "no certificates configured"):
		kind.result = "unknown-name"
	case strings.Contains(err.Error(), "client didn't provide a certificate"), strings.Contains(err.Error(), "failed to verify certificate"):
		kind.result = "client-certificate"
	case strings.Contains(err.Error(), "protocol version"), strings.Contains(err.Error(), "cipher suite"):
		kind.result = "unsupported"
	}
	c, ok := s.handshakes.Load(kind)
	if !ok {
		c, _ = s.handshakes.LoadOrStore(kind, new(atomic.Uint64))
	}
	c.(*atomic.Uint64).Add(1)
}

// Handshakes returns the counts of all results.
func (s *Store) Handshakes() (counts []HandshakeCount) {
	s.handshakes.Range(func(k, c any) bool {
		kind := k.(handshakeKind)
		counts = append(counts, HandshakeCount{kind.version, kind.result, c.(*atomic.Uint64).Load()})
		return true
	})
	return counts
}
