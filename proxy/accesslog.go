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

// AccessLog writes one line for each exchange, in a goroutine of its own. If the
// writer is slow or fails, lines are lost, but no request waits.
type AccessLog struct {
	// Format is how a line is written; FormatJSON when empty.
	Format Format
	// Query says how much of a target's query is logged; QueryOn when empty.
	Query Query
	// Checks also logs requests for the ready path, which load balancers send all day
	// long.
	Checks bool
	// Refused bounds the lines a second about requests that the policies of one route
	// refuse; 0 means no limit. A client that is refused can send any number of
	// requests.
	Refused int
	// Logger gets a message, at most once a minute, when lines cannot be written or the
	// queue is full. It may be nil.
	Logger *slog.Logger

	w       io.Writer
	sample  float64
	lines   chan *[]byte
	pool    sync.Pool
	dropped atomic.Uint64 // all lost lines
	noRoom  atomic.Uint64 // lost lines that found the queue full
	skipped atomic.Uint64 // requests without a line because of Refused
}

// Query says how much of a target's query the access log contains.
type Query string

// QueryOn logs the query as it came, QueryOff not at all, QueryRedact only the names.
const (
	QueryOn     Query = "on"
	QueryOff    Query = "off"
	QueryRedact Query = "redact"
)

// Bounds of the access log: lines in the queue, bytes of a value, and how long the writer
// may take for the rest of the queue at the end.
const (
	accessQueue = 4096
	accessValue = 2048
	accessEnd   = time.Second
)

// NewAccessLog makes an access log that writes to w. Lines are written while Run runs.
// Sample is the share of requests that get a line, 0 to 1. Requests that failed, or
// that serai answered itself, always get one.
func NewAccessLog(w io.Writer, sample float64) *AccessLog {
	l := &AccessLog{w: w, sample: sample, lines: make(chan *[]byte, accessQueue)}
	l.pool.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

// Dropped returns how many lines were lost.
func (l *AccessLog) Dropped() uint64 { return l.dropped.Load() }

// Skipped returns how many requests have no line because of Refused.
func (l *AccessLog) Skipped() uint64 { return l.skipped.Load() }

// Run writes lines until ctx ends, and then the rest of the queue. It does not wait
// longer than accessEnd for a writer that blocks, such as a pipe that nobody reads.
func (l *AccessLog) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx)
	}()
	tick := time.NewTicker(lossLogInterval)
	defer tick.Stop()
	for reported := uint64(0); ; {
		select {
		case <-tick.C:
			// The writer itself may block forever, so it is reported here.
			if n := l.noRoom.Load(); n > reported && l.Logger != nil {
				l.Logger.Error("the access log is written too slowly: lines were lost", "lines", n-reported)
				reported = n
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

// Log queues a line for x, unless x gets none.
func (l *AccessLog) Log(x *Exchange) {
	if x.Check && !l.Checks || x.Route != nil && x.Route.Policies.Unlogged() {
		return
	}
	if l.sample < 1 && x.Reason == "" && x.Status > 0 && x.Status < 500 && rand.Float64() >= l.sample {
		return
	}
	var skipped uint64
	if l.Refused > 0 && x.refusedByPolicy() {
		ok := false
		if skipped, ok = x.Route.Stats.Refused.Take(x.Now, l.Refused); !ok {
			l.skipped.Add(1)
			return
		}
	}
	line := l.pool.Get().(*[]byte)
	if l.Format == FormatCombined {
		*line = x.appendCombined(*line, l.Query)
	} else {
		*line = x.appendLog(*line, l.Query, skipped)
	}
	select {
	case l.lines <- line:
	default:
		l.dropped.Add(1)
		l.noRoom.Add(1)
		*line = (*line)[:0]
		l.pool.Put(line)
	}
}

// refusedByPolicy reports whether a policy of the route answered the request with an
// error.
func (x *Exchange) refusedByPolicy() bool {
	return x.Route != nil && !x.admitted && x.Status >= 400 && x.Reason != ""
}
