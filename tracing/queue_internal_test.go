package tracing

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serai/proxy"
)

// TestQueueForgetsNobody: whatever the exporter does while traces come, each is taken once, those
// of one goroutine in their order, and the exporter never sleeps while something waits for
// longer than a message waits for more.
func TestQueueForgetsNobody(t *testing.T) {
	const sources, each = 8, 2000
	q := newQueue()
	var coming sync.WaitGroup
	for source := range sources {
		coming.Go(func() {
			for n := range each {
				r := &proxy.Trace{}
				r.Span[0] = byte(source)
				binary.BigEndian.PutUint32(r.Span[4:], uint32(n))
				for !q.put(r) { // it is full
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	var next [sources]uint32
	for taken := 0; taken < sources*each; {
		q.await(t.Context())
		batch := q.take(nil)
		if len(batch) == 0 || len(batch) > batchTraces {
			t.Fatalf("a batch of %d", len(batch))
		}
		for _, r := range batch {
			if n := binary.BigEndian.Uint32(r.Span[4:]); n != next[r.Span[0]] {
				t.Fatalf("trace %d of %d, want %d", n, r.Span[0], next[r.Span[0]])
			}
			next[r.Span[0]]++
		}
		taken += len(batch)
	}
	coming.Wait()
	if n := q.len(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestQueueWaits: the exporter sleeps while nothing waits, then a moment for more traces, or
// until there are enough, and not at all when it must end.
func TestQueueWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		await := func(ctx context.Context) time.Duration {
			begun := time.Now()
			q.await(ctx)
			return time.Since(begun)
		}
		time.AfterFunc(time.Hour, func() { q.put(&proxy.Trace{}) })
		if took := await(t.Context()); took != time.Hour+batchTime {
			t.Errorf("one trace that comes after an hour is sent after %v", took)
		}
		if took := await(t.Context()); took != batchTime {
			t.Errorf("one that waits is sent after %v", took)
		}
		time.AfterFunc(batchTime/2, func() {
			for range batchTraces - 1 {
				q.put(&proxy.Trace{})
			}
		})
		if took := await(t.Context()); took != batchTime/2 {
			t.Errorf("enough for a message wait %v", took)
		}
		for q.len() > 0 {
			q.take(nil)
		}
		// Few traces with many spans are enough, too, and one that takes the room of others.
		many := &proxy.Trace{Attempts: make([]proxy.TraceAttempt, batchSpans/4)}
		time.AfterFunc(batchTime/2, func() {
			for range 4 {
				q.put(many)
			}
		})
		if took := await(t.Context()); took != batchTime/2 {
			t.Errorf("enough spans for a message wait %v", took)
		}
		q.take(nil)
		q.put(&proxy.Trace{})
		time.AfterFunc(batchTime/4, q.rush)
		if took := await(t.Context()); took != batchTime/4 {
			t.Errorf("what takes the room of others waits %v", took)
		}
		for q.len() > 0 {
			q.take(nil)
		}
		q.rush() // nothing waits: that is for nobody
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if took := await(ctx); took != time.Minute {
			t.Errorf("an empty queue is waited for until %v", took)
		}
		for n := range queueTraces + 1 {
			if q.put(&proxy.Trace{}) != (n < queueTraces) {
				t.Fatalf("place %d of %d", n, queueTraces)
			}
		}
	})
}
