package proxy

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// AccessLog writes one JSON line for each exchange, from a goroutine of its
// own. A writer that is too slow, or fails, costs lines, never a request.
type AccessLog struct {
	// Query is what becomes of the queries of targets, QueryOn when empty.
	Query Query
	// Checks has requests for the ready path logged, too, which load balancers
	// send all day long.
	Checks bool
	// Refused bounds the lines a second about requests that the policies of one route
	// refuse; 0 for no limit. Whoever is refused can ask as often as it likes.
	Refused int
	// Logger is told, once a minute at most, of lines that cannot be written, and of
	// those that found no room in wait. It may be nil.
	Logger *slog.Logger

	w       io.Writer
	sample  float64
	lines   chan *[]byte
	pool    sync.Pool
	dropped atomic.Uint64 // of which noRoom were never in wait
	noRoom  atomic.Uint64
	skipped atomic.Uint64 // because of Refused
}

// Query says what the access log holds of a target's query.
type Query string

// QueryOn logs it as it came, QueryOff not at all, QueryRedact the names alone.
const (
	QueryOn     Query = "on"
	QueryOff    Query = "off"
	QueryRedact Query = "redact"
)

// Bounds of the access log: lines in wait, bytes of a line's longest value, and
// how long the writer may take for the lines that are left at the end.
const (
	accessQueue = 4096
	accessValue = 2048
	accessEnd   = time.Second
)

// NewAccessLog makes an access log on w. Lines are written while Run runs.
// Sample is the share, 0 to 1, of the requests that get a line; those that
// failed, or that serai answered itself, always do.
func NewAccessLog(w io.Writer, sample float64) *AccessLog {
	l := &AccessLog{w: w, sample: sample, lines: make(chan *[]byte, accessQueue)}
	l.pool.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

// Dropped returns how many lines were lost.
func (l *AccessLog) Dropped() uint64 { return l.dropped.Load() }

// Skipped returns how many requests have no line because of Refused.
func (l *AccessLog) Skipped() uint64 { return l.skipped.Load() }

// Run writes lines until ctx ends, and then those in wait. A writer that takes
// too long for them, a pipe that nobody reads, is left behind.
func (l *AccessLog) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx)
	}()
	tick := time.NewTicker(tellLosses)
	defer tick.Stop()
	for told := uint64(0); ; {
		select {
		case <-tick.C:
			// A writer that never comes back cannot tell of it.
			if n := l.noRoom.Load(); n > told && l.Logger != nil {
				l.Logger.Error("the access log takes lines too slowly: some are lost", "lines", n-told)
				told = n
			}
			continue
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(accessEnd):
		}
		return ctx.Err()
	}
}

// Log queues a line for x, if it is to have one.
func (l *AccessLog) Log(x *Exchange) {
	if x.Check && !l.Checks || x.Route != nil && x.Route.Policies.Unlogged() {
		return
	}
	if l.sample < 1 && x.Reason == "" && x.Status > 0 && x.Status < 500 && rand.Float64() >= l.sample {
		return
	}
	var left uint64
	if l.Refused > 0 && x.refusedByPolicy() {
		ok := false
		if left, ok = x.Route.Stats.Refused.Take(x.Now, l.Refused); !ok {
			l.skipped.Add(1)
			return
		}
	}
	line := l.pool.Get().(*[]byte)
	*line = x.appendLog(*line, l.Query, left)
	select {
	case l.lines <- line:
	default:
		l.dropped.Add(1)
		l.noRoom.Add(1)
		*line = (*line)[:0]
		l.pool.Put(line)
	}
}

// refusedByPolicy reports whether a policy of the route has answered the request with an
// error.
func (x *Exchange) refusedByPolicy() bool {
	return x.Route != nil && !x.admitted && x.Status >= 400 && x.Reason != ""
}
