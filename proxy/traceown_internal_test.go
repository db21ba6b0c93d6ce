package proxy

import (
	"testing"

	"serai/upstream"
	"serai/wire"
)

// TestOwnTraceParent: what a trace that begins here sends is its ID, the span of its first attempt and
// whether it is recorded, also where memory of the request before is used again, and after a
// client's trace. No two have one ID, and recorded ones have no half of it in common.
func TestOwnTraceParent(t *testing.T) {
	seen, halves := map[TraceID]bool{}, map[SpanID]bool{}
	for _, share := range []float64{0, 0.5, 1} {
		var taken []*Trace
		tracing := &Tracing{Share: share, Record: func(r *Trace) { taken = append(taken, r) }}
		x := &Exchange{}
		for i := range 300 {
			x.Reset()
			x.Status, x.Head.Fields = 200, nil
			if i%3 == 1 {
				x.Head.Fields = []wire.Field{{Name: []byte("Traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}}
			}
			tracing.begin(x, true)
			r := x.trace
			r.beginAttempt(x, &upstream.Member{Endpoint: &upstream.Endpoint{}})
			fields := x.appendTraceFields(nil)
			p, ok := parseTraceParent(fields[0].Value)
			if len(fields) != 1 || !ok || p.id != r.ID || p.span != r.Attempts[0].Span || (p.flags&flagSampled != 0) != r.Sampled {
				t.Fatalf("share %v, request %d: %q for %x, span %x, recorded %v", share, i, fields[0].Value, r.ID, r.Attempts[0].Span, r.Sampled)
			}
			if i%3 != 1 {
				if half := SpanID(r.ID[:8]); seen[r.ID] || r.Sampled && halves[half] {
					t.Fatalf("share %v, request %d: %x once more", share, i, r.ID)
				} else if seen[r.ID] = true; r.Sampled {
					halves[half] = true
				}
			}
			tracing.end(x)
			for _, r := range taken { // its memory is for another request
				r.Release()
			}
			taken = taken[:0]
		}
	}
}
