package tracing

import (
	"context"
	"slices"
	"sync"
	"time"

	"serai/proxy"
)

// queue has the traces that wait for the collector, in order. All methods may be called
// concurrently, take and await by one goroutine.
type queue struct {
	mu     sync.Mutex
	traces []*proxy.Trace
	spans  int  // of all these
	rushed bool // somebody waits for the room that they take
	// changed has something when there is a first trace, and when there are enough for a
	// message: the exporter need not wake up for each of them.
	changed chan struct{}
}

func newQueue() *queue { return &queue{changed: make(chan struct{}, 1)} }

// put adds a trace, and reports whether there was room for it.
func (q *queue) put(t *proxy.Trace) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.traces) == queueTraces {
		return false
	}
	q.traces, q.spans = append(q.traces, t), q.spans+t.Spans()
	if len(q.traces) == 1 || q.enough() {
		q.signal()
	}
	return true
}

// rush has what waits sent without waiting for more: there is no memory for more.
func (q *queue) rush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.traces) > 0 {
		q.rushed = true
		q.signal()
	}
}

func (q *queue) signal() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// enough reports, with the lock held, whether a message need not wait for more.
func (q *queue) enough() bool {
	return q.rushed || len(q.traces) >= batchTraces || q.spans >= batchSpans
}

// len returns how many wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.traces)
}

// ready reports whether there are enough for a message.
func (q *queue) ready() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.enough()
}

// take adds traces to batch, which is empty, until there are enough for a message.
func (q *queue) take(batch []*proxy.Trace) []*proxy.Trace {
	q.mu.Lock()
	defer q.mu.Unlock()
	spans := 0
	for len(batch) < min(batchTraces, len(q.traces)) && spans < batchSpans {
		t := q.traces[len(batch)]
		batch, spans = append(batch, t), spans+t.Spans()
	}
	q.traces = slices.Delete(q.traces, 0, len(batch))
	q.spans, q.rushed = q.spans-spans, false
	return batch
}

// await waits for a first trace, and then a moment for more. When ctx has ended it waits for
// nothing.
func (q *queue) await(ctx context.Context) {
	for q.len() == 0 {
		select {
		case <-q.changed:
		case <-ctx.Done():
			return
		}
	}
	timer := time.NewTimer(batchTime)
	defer timer.Stop()
	for !q.ready() {
		select {
		case <-q.changed: // perhaps of the first one
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
