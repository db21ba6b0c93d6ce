// Package discovery answers: which instances exist now?
//
// A Source watches one place that knows (Nomad, a file) and sends immutable
// Snapshots; Merge makes one of several. Nothing here knows what a tag means:
// that is package router's question.
package discovery

import (
	"context"
	"time"
)

// Snapshot is everything that exists at one moment. Never modified once sent.
type Snapshot struct {
	// Services holds only services of which an instance carries our tag
	// prefix.
	Services map[Key]*Service
	// Origin says where it comes from.
	Origin Origin
	// Partial says that a source has not been heard of yet: what is here is
	// right, but more exists.
	Partial bool
	// Index is the highest place in its source's order of changes that it
	// contains (see Instance.Modified); 0 when it is from a file.
	Index uint64
	// Read is when its source last confirmed it as complete: the time of the
	// cache's writing when Origin is OriginCache.
	Read time.Time
	// Changed is when the oldest change that it brings became known, for the
	// discovery lag. Zero when it is not the answer to a single change.
	Changed time.Time
}

// Origin says how a Snapshot was obtained.
type Origin int

// A snapshot is live once a source has read it completely, cached while it is
// the last known good one read from disk.
const (
	OriginLive Origin = iota
	OriginCache
)

// Source watches one place where instances are registered.
//
// Its contract, which TestSourceContract holds every source to:
//
//   - Run sends a Snapshot once the source has a complete view (or a cached
//     one), also of a place where nothing is registered, and again after every
//     change.
//   - It sends services of which an instance carries our prefix (or nearly:
//     see NearPrefix), with all their instances, sorted by ID. Each instance has
//     all that the place tells of it.
//   - What was sent is never modified. A service that has not changed has the
//     pointer that it had: only what changed is compiled anew.
//   - Silence removes nothing. Whatever goes wrong (the place is away, an
//     answer is broken) is retried with back-off and told through Status and
//     the logger, and never becomes an emptier Snapshot. When the place comes
//     back, the Snapshot becomes what it says.
//   - Sends block until they are received or ctx ends. Snapshots in between may
//     be skipped, the newest never is.
//   - Run ends when ctx does, returns ctx's error and no other, and leaves no
//     goroutine behind. It is called once.
//
// A new source is a file here, with Run and Status, and a place in
// places_test.go; cmd/serai makes one where a flag asks for it.
type Source interface {
	Run(ctx context.Context, out chan<- *Snapshot) error
	// Status returns how the source is, of each place that it asks by itself. It
	// may be called at any time.
	Status() []Status
}

var (
	_ Source = (*Watcher)(nil)
	_ Source = (*File)(nil)
)
