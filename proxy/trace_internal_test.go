package proxy

import (
	"strings"
	"testing"
	"time"

	"serai/upstream"
	"serai/wire"
)

// TestTraceAllocatesNothing: a request that is not recorded costs no allocation, nor does one
// with fields of its own.
func TestTraceAllocatesNothing(t *testing.T) {
	for name, fields := range map[string][]wire.Field{
		"none":     {{Name: []byte("Accept"), Value: []byte("*/*")}},
		"a parent": {{Name: []byte("Traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}, {Name: []byte("Tracestate"), Value: []byte("a=1,b=2")}},
	} {
		tracing := &Tracing{Errors: 1, Record: func(*Trace) { t.Error("recorded") }}
		x, m, now := &Exchange{}, &upstream.Member{}, time.Now()
		x.Head.Fields = fields
		out := make([]wire.Field, 0, 8)
		once := func() {
			x.Reset()
			x.Start, x.Now, x.Status = now, now, 200
			tracing.begin(x, true)
			x.trace.beginAttempt(x, m)
			out = x.appendTraceFields(out[:0])
			x.trace.endAttempt(x, nil)
			tracing.end(x)
		}
		once()
		if n := testing.AllocsPerRun(100, once); n != 0 {
			t.Errorf("%s: %v allocations a request", name, n)
		}
	}
}

// TestManyAttempts: a trace is bounded, whatever happens to its request.
func TestManyAttempts(t *testing.T) {
	tracing := &Tracing{Share: 1, Record: func(*Trace) {}}
	x := &Exchange{}
	tracing.begin(x, true)
	r := x.trace
	for range 100 {
		r.waited(WaitInstance, x.Now, x.Now)
		r.beginAttempt(x, &upstream.Member{})
		r.endAttempt(x, &failure{reason: "x"})
	}
	if len(r.Attempts) != maxTraceAttempts || len(r.Waits) != maxTraceWaits {
		t.Errorf("%d attempts and %d waits", len(r.Attempts), len(r.Waits))
	}
}

// FuzzTraceFields: whatever goes on is valid.
func FuzzTraceFields(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1,b=2")
	f.Add("", strings.Repeat("a=1,", 40))
	f.Fuzz(func(t *testing.T, parent, state string) {
		x := &Exchange{}
		x.Head.Fields = []wire.Field{{Name: []byte("Traceparent"), Value: []byte(parent)}, {Name: []byte("Tracestate"), Value: []byte(state)}}
		(&Tracing{}).begin(x, true)
		for _, sent := range x.appendTraceFields(nil) {
			if string(sent.Name) == "traceparent" {
				if p, ok := parseTraceParent(sent.Value); !ok || p.flags&flagSampled != 0 || len(sent.Value) != traceParentSize {
					t.Errorf("sent %q", sent.Value)
				}
				continue
			}
			s := traceState{}
			if !s.add(sent.Value) || string(s.list) != string(sent.Value) || len(sent.Value) > maxTraceState {
				t.Errorf("sent the state %q", sent.Value)
			}
		}
		for _, got := range x.Head.Fields {
			if got.Kind != wire.Dropped {
				t.Errorf("%s goes on as it came", got.Name)
			}
		}
	})
}
