package proxy

import (
	"encoding/binary"
	"testing"

	"serai/upstream"
	"serai/wire"
)

// TestOwnTraceParent: what a trace that begins here sends is its ID, the span of its first attempt and
// whether it is recorded, also where memory of the request before is used again, after a client's
// trace, after a wait, and where it is written down only after the request has failed. No two have
// one ID, and those that are recorded from their beginning have no half of it in common.
func TestOwnTraceParent(t *testing.T) {
	seen, halves := map[TraceID]bool{}, map[SpanID]bool{}
	for _, share := range []float64{0, 0.5, 1} {
		var taken []*Trace
		tracing := &Tracing{own: newOwnParent(), Share: share, Errors: 1 << 30, Record: func(r *Trace) { taken = append(taken, r) }}
		x := &Exchange{}
		for i := range 600 {
			x.Reset()
			x.Status, x.Head.Fields = 200, nil
			continued, waits, fails, cut := i%3 == 1, i%5 == 1, i%7 == 1, i%11 == 1
			if continued {
				x.Head.Fields = []wire.Field{{Name: []byte("Traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}}
			}
			tracing.begin(x, true)
			if waits {
				x.waited(WaitInstance, x.Now)
			}
			m := &upstream.Member{Endpoint: &upstream.Endpoint{}}
			x.Member = m
			x.beginAttempt(m)
			fields := x.appendTraceFields(nil)
			id, _ := x.TraceID()
			sampled := x.trace != nil && x.trace.Sampled
			if takes := tracing.takes(binary.BigEndian.Uint64(id[8:])); !continued && takes != sampled { // an instance that samples by the ID, too
				t.Fatalf("share %v, request %d: recorded %v, but the ID %x belongs to the share: %v", share, i, sampled, id, takes)
			}
			p, ok := parseTraceParent(fields[0].Value)
			if len(fields) != 1 || !ok || p.id != id || (p.flags&flagSampled != 0) != sampled {
				t.Fatalf("share %v, request %d: %q for %x, recorded %v", share, i, fields[0].Value, id, sampled)
			}
			if !continued {
				if half := SpanID(id[:8]); seen[id] || sampled && halves[half] {
					t.Fatalf("share %v, request %d: %x once more", share, i, id)
				} else if seen[id] = true; sampled {
					halves[half] = true
				}
			}
			switch {
			case fails:
				x.endAttempt(&failure{reason: "connect"})
				x.Status, x.Retries = 502, 1
				x.beginAttempt(m)
				if again := x.appendTraceFields(nil); string(again[0].Value) == string(fields[0].Value) {
					t.Fatalf("both attempts have one span: %q", again[0].Value)
				}
				x.endAttempt(&failure{reason: "connect"})
			case cut:
				x.Reason = ReasonUpstreamCut.Code()
				fallthrough
			default:
				x.endAttempt(nil)
			}
			tracing.end(x)
			if recorded := len(taken) == 1; recorded != (sampled || fails || cut) {
				t.Fatalf("share %v, request %d: recorded %v, sampled %v, failed %v, cut %v", share, i, recorded, sampled, fails, cut)
			}
			for _, r := range taken {
				if attempts := 1 + x.Retries; r.ID != id || r.Sampled != sampled || len(r.Attempts) != attempts || r.Attempts[0].Span != p.span || r.Span == p.span || (len(r.Waits) == 1) != waits {
					t.Fatalf("share %v, request %d: sent %q, recorded %+v", share, i, fields[0].Value, r)
				}
				r.Release() // its memory is for another request
			}
			taken = taken[:0]
		}
	}
}
