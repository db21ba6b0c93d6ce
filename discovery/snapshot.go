// Package discovery answers: which instances exist now?
//
// A Source watches one place where instances are registered (Nomad, Consul, a file) and sends
// immutable Snapshots; Merge makes one Source of several. This package does not know
// the meaning of tags: that is package router's question.
package discovery

import (
	"context"
	"time"
)

// Snapshot is everything that exists at one moment. Never modified once sent.
type Snapshot struct {
	// Services has only services of which an instance has a tag with our prefix.
	Services map[Key]*Service
	// Origin says how it was obtained.
	Origin Origin
	// Partial says that a source has sent nothing yet: what is here is right, but more
	// exists.
	Partial bool
	// Index is the highest position in its source's order of changes that it contains
	// (see Instance.Modified); 0 when it is from a file.
	Index uint64
	// Read is when its source last confirmed it as complete; when Origin is
	// OriginCache, when the cache was written.
	Read time.Time
	// Changed is when the oldest change in it became known, for the discovery lag. Zero
	// when it does not come from a single change.
	Changed time.Time
}

// Origin says how a Snapshot was obtained.
type Origin int

// A snapshot is live once a source has read it completely, cached while it is the last
// known good one read from disk.
const (
	OriginLive Origin = iota
	OriginCache
)

// Source watches one place where instances are registered.
//
// Its contract, which TestSourceContract checks for every source:
//
//   - Run sends a Snapshot once the source has a complete view (or a cached
//     one), even if nothing is registered, and again after every
//     change.
//   - It sends services of which an instance has our prefix (or nearly:
//     see NearPrefix), with all their instances, sorted by ID. Each instance has
//     everything that the place says about it.
//   - What was sent is never modified. A service that has not changed keeps its
//     pointer, because only what changed is compiled again.
//   - Missing data removes nothing. Whatever goes wrong (the place is unreachable,
//     an answer is broken) is retried with back-off and reported through Status and
//     the logger, and never becomes an emptier Snapshot. When the place returns,
//     the Snapshot becomes what it says.
//   - Sends block until they are received or ctx ends. Snapshots in between may
//     be skipped, the newest never is.
//   - Run ends when ctx does, returns ctx's error and no other, and leaves no
//     goroutine behind. It is called once.
//
// A new source is a file here, with Run and Status, and an entry in places_test.go;
// cmd/serai makes one when a flag asks for it.
type Source interface {
	Run(ctx context.Context, out chan<- *Snapshot) error
	// Status returns the state of the source, one for each place that it asks. It may
	// be called at any time.
	Status() []Status
}

var (
	_ Source = (*Watcher)(nil)
	_ Source = (*File)(nil)
	_ Source = (*Consul)(nil)
)
