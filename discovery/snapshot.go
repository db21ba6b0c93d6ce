// Package discovery answers: which instances exist now?
//
// A Source watches one place that knows (Nomad, a file) and sends immutable
// Snapshots; Merge makes one of several. Nothing here knows what a tag means:
// that is package router's question.
package discovery

import (
	"context"
	"time"

	"serai/nomad"
)

// Instance is one address of a service, as its source registered it.
type Instance = nomad.Registration

// Key names a service.
type Key struct{ Namespace, Name string }

// Service is the instances of one service, sorted by ID. Never modified once
// it is part of a Snapshot: two snapshots that hold the same pointer hold the
// same instances, which is how a consumer finds what changed.
type Service struct {
	Key
	Instances []*Instance
}

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
	// Index is the highest Nomad index it contains; 0 when it is from a file.
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

// Source watches one place. Run sends a Snapshot at first when it has a
// complete view (or a cached one), and again after every change, until ctx
// ends; it returns ctx's error then and never any other: trouble is retried
// with back-off, reported through the source's status and its logger, and
// never becomes an emptier Snapshot. Sends block until received or ctx ends;
// intermediate snapshots may be skipped, the newest never is.
type Source interface {
	Run(ctx context.Context, out chan<- *Snapshot) error
}
