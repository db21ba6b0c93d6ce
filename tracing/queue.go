package tracing

import (
	"context"
	"sync"
	"time"

	"serai/proxy"
)

// queue has the traces that wait for the collector, in order. All methods may be called
// concurrently, take and await by one goroutine.
type queue struct {
	mu     sync.Mutex
	traces []*proxy.Trace
	// changed has something when there is a first trace, and when there are enough for a
	// message: the exporter need not wake up for each of them.
	changed chan struct{}
}

func newQueue() *queue { return &queue{changed: make(chan struct{}, 1)} }

// put adds a trace, and reports whether there was room for it.
func (q *queue) put(t *proxy.Trace) bool {
	q.mu.Lock()
	n := len(q.traces) + 1
	if n > queueTraces {
		q.mu.Unlock()
		return false
	}
	q.traces = append(q.traces, t)
	q.mu.Unlock()
	if n == 1 || n == batchTraces {
		select {
		case q.changed <- struct{}{}:
		default:
		}
	}
	return true
}

// len returns how many wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.traces)
}

// take adds traces to batch, which is empty, until there are enough for a message.
func (q *queue) take(batch []*proxy.Trace) []*proxy.Trace {
	q.mu.Lock()
	defer q.mu.Unlock()
	for spans := 0; len(batch) < min(batchTraces, len(q.traces)) && spans < batchSpans; {
		t := q.traces[len(batch)]
		batch, spans = append(batch, t), spans+t.Spans()
	}
	left := copy(q.traces, q.traces[len(batch):])
	clear(q.traces[left:])
	q.traces = q.traces[:left]
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
	for q.len() < batchTraces {
		select {
		case <-q.changed: // perhaps of the first one
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
