package tracing

import (
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"serai/proxy"
	"serai/router"
)

// Exemplar is a trace that stands for the requests of a route that took about as long.
type Exemplar struct {
	Namespace, Service, Route string
	// Bucket is the index in router.DurationBounds, or their number.
	Bucket int
	// TraceID is in hexadecimal digits, Seconds how long the request took.
	TraceID string
	Seconds float64
	At      time.Time
}

// Bounds of exemplars: how many are kept, and for how long.
const (
	maxExemplars = 4096
	exemplarAge  = time.Hour
)

// exemplars keeps the newest one of each route and bucket.
type exemplars struct {
	mu   sync.Mutex
	kept map[exemplarKey]Exemplar
}

type exemplarKey struct {
	namespace, service, route string
	bucket                    int
}

// note makes a trace that the collector has taken an exemplar. When there is no room, it
// takes the place of any other: routes with many requests are back soon.
func (e *exemplars) note(t *proxy.Trace) {
	q := &t.Request
	if !q.Routed {
		return
	}
	seconds := t.Ended.Sub(t.Begun).Seconds()
	bucket := slices.IndexFunc(router.DurationBounds[:], func(bound float64) bool { return seconds <= bound })
	if bucket < 0 {
		bucket = len(router.DurationBounds)
	}
	key := exemplarKey{q.Namespace, q.Service, q.Route, bucket}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept == nil {
		e.kept = make(map[exemplarKey]Exemplar)
	}
	if _, known := e.kept[key]; !known && len(e.kept) >= maxExemplars {
		for other := range e.kept {
			delete(e.kept, other)
			break
		}
	}
	e.kept[key] = Exemplar{
		Namespace: q.Namespace, Service: q.Service, Route: q.Route, Bucket: bucket,
		TraceID: hex.EncodeToString(t.ID[:]), Seconds: seconds, At: t.Ended,
	}
}

// all returns all exemplars, and forgets those that are too old.
func (e *exemplars) all(now time.Time) []Exemplar {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Exemplar, 0, len(e.kept))
	for key, x := range e.kept {
		if now.Sub(x.At) > exemplarAge {
			delete(e.kept, key)
			continue
		}
		all = append(all, x)
	}
	return all
}
