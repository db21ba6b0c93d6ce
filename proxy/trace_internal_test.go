package proxy

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

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
		tracing := &Tracing{own: newOwnParent(), Errors: 1, Record: func(*Trace) { t.Error("recorded") }}
		x, m, now := &Exchange{}, &upstream.Member{}, time.Now()
		x.Head.Fields = fields
		out := make([]wire.Field, 0, 8)
		once := func() {
			x.Reset()
			x.Start, x.Now, x.Status = now, now, 200
			tracing.begin(x, true)
			x.Member = m
			x.beginAttempt(m)
			out = x.appendTraceFields(out[:0])
			x.endAttempt(nil)
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
	tracing := &Tracing{own: newOwnParent(), Share: 1, Record: func(*Trace) {}}
	x := &Exchange{}
	x.Head.Fields = []wire.Field{
		{Name: []byte("Traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
		{Name: []byte("Tracestate"), Value: []byte(strings.Repeat("a="+strings.Repeat("x", 15)+",", 31))},
	}
	tracing.begin(x, true)
	r := x.trace
	for range 100 {
		x.waited(WaitInstance, x.Now)
		x.beginAttempt(&upstream.Member{})
		x.endAttempt(&failure{reason: "x"})
		x.Retries++
	}
	if len(r.Attempts) != maxTraceAttempts || len(r.Waits) != maxTraceWaits {
		t.Errorf("%d attempts and %d waits", len(r.Attempts), len(r.Waits))
	}
	for i, a := range r.Attempts {
		if want := i; a.Resend != want && i < maxTraceAttempts-1 || i == maxTraceAttempts-1 && a.Resend != 99 {
			t.Errorf("attempt %d has %d before it", i, a.Resend)
		}
	}
	bytes := int(unsafe.Sizeof(*r)) + cap(r.State) + cap(r.Attempts)*int(unsafe.Sizeof(r.Attempts[0])) + cap(r.Waits)*int(unsafe.Sizeof(r.Waits[0]))
	if bytes > traceCost || len(r.State) < maxTraceState-16 {
		t.Errorf("it takes %d bytes, %d of them for the state, and counts as %d", bytes, len(r.State), traceCost)
	}
}

// FuzzTraceFields: whatever goes on is valid.
func FuzzTraceFields(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1,b=2")
	f.Add("", strings.Repeat("a=1,", 40))
	f.Fuzz(func(t *testing.T, parent, state string) {
		x := &Exchange{}
		x.Head.Fields = []wire.Field{{Name: []byte("Traceparent"), Value: []byte(parent)}, {Name: []byte("Tracestate"), Value: []byte(state)}}
		(&Tracing{own: newOwnParent()}).begin(x, true)
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

// FuzzTraceParent compares the parser with OpenTelemetry's own: what one of them takes, the
// other takes for the same trace. serai alone takes a version 00 with flags that nobody has
// defined, which it ignores, as the specification wants, and OpenTelemetry alone one with an
// empty part behind the flags, which version 00 does not have.
func FuzzTraceParent(f *testing.F) {
	const ids = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
	for _, v := range []string{"00" + ids + "01", "00" + ids + "ff", "00" + ids + "01-", "cc" + ids + "03-more", "cc" + ids + "03more", "ff" + ids + "01", "0" + ids + "01", "00" + strings.ToUpper(ids) + "01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00" + ids, "", " 00" + ids + "01", "00" + ids + "0\x00"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		p, ok := parseTraceParent([]byte(v))
		theirs := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": v}))
		odd := ok && strings.HasPrefix(v, "00-") && v[53:55] > "03"
		longer := !ok && strings.HasPrefix(v, "00-") && len(v) == traceParentSize+1 && v[traceParentSize] == '-'
		if ok != theirs.IsValid() && !(odd && !theirs.IsValid()) && !longer {
			t.Fatalf("%q is taken: %v, by OpenTelemetry: %v", v, ok, theirs.IsValid())
		}
		if ok && !odd && (p.id != TraceID(theirs.TraceID()) || p.span != SpanID(theirs.SpanID()) || p.flags != byte(theirs.TraceFlags())) {
			t.Errorf("%q is %+v, by OpenTelemetry %+v", v, p, theirs)
		}
		if again, sound := parseTraceParent(p.append(nil)); ok && (!sound || again != p) {
			t.Errorf("%q is sent on as %s, which is %+v", v, p.append(nil), again)
		}
	})
}

// TestTraceParentDigits: they are those of the standard library, of every byte in every place.
func TestTraceParentDigits(t *testing.T) {
	p := traceParent{flags: flagSampled}
	check := func() {
		want := "x00-" + hex.EncodeToString(p.id[:]) + "-" + hex.EncodeToString(p.span[:]) + "-01"
		if got := string(p.append([]byte("x"))); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	for b := range 256 {
		for place := range p.id {
			p.id[place] = byte(b)
			check()
		}
		for place := range p.span {
			p.span[place] = byte(b)
			check()
		}
		p.span = SpanID(p.id[:8])
		check()
	}
}

// TestTakes: none of the requests belong to a share of 0, all of them to 1.
func TestTakes(t *testing.T) {
	for _, random := range []uint64{0, 1, 1 << 11, 1 << 63, math.MaxUint64} {
		if (&Tracing{Share: 0}).takes(random) || !(&Tracing{Share: 1}).takes(random) {
			t.Errorf("wrong for %d", random)
		}
	}
	if half := (&Tracing{Share: 0.5}); !half.takes(1<<63-1) || half.takes(1<<63) {
		t.Error("half is not half")
	}
}

// TestTraceIDs: each trace has an ID and spans of its own, whether its memory was used before,
// and the first span of a continued trace is not taken from its ID, which others know.
func TestTraceIDs(t *testing.T) {
	var recorded []*Trace
	tracing := &Tracing{own: newOwnParent(), Share: 1, Record: func(r *Trace) { recorded = append(recorded, r) }}
	seen := make(map[SpanID]bool)
	note := func(id SpanID) {
		t.Helper()
		if id == (SpanID{}) || seen[id] {
			t.Fatalf("the ID %x was there before", id)
		}
		seen[id] = true
	}
	exchanges := make([]Exchange, 4)
	for n := range 1000 {
		x := &exchanges[n%len(exchanges)]
		x.Status = 200
		tracing.begin(x, false)
		r := x.trace
		half := SpanID(r.ID[8:])
		note(half)
		if n%3 == 0 {
			r.Parent = SpanID{1}
			note(SpanID(r.ID[:8]))
		}
		for range 1 + n%2 {
			x.beginAttempt(&upstream.Member{Endpoint: &upstream.Endpoint{}})
			note(r.Attempts[len(r.Attempts)-1].Span)
		}
		tracing.end(x)
		if len(recorded) != n+1 {
			t.Fatalf("%d of %d are recorded", len(recorded), n+1)
		}
		note(recorded[n].Span)
		if n%5 > 0 { // the others are still with the exporter
			recorded[n].Release()
		}
	}
}

// TestTraceMemoryIsEmpty: a trace that is used again says nothing of earlier requests, whatever
// these were: each is compared with what was done to it.
func TestTraceMemoryIsEmpty(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var recorded *Trace
	tracing := &Tracing{own: newOwnParent(), Errors: 1 << 30, Record: func(r *Trace) { recorded = r }}
	x, now := &Exchange{}, time.Now()
	for n := range 3000 {
		x.Reset()
		x.Start, x.Now, x.Status, x.Reason = now, now, 0, ""
		x.Head.Fields = nil
		parent := random.IntN(3) == 0
		if parent {
			x.Head.Fields = []wire.Field{{Name: []byte("Traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")}, {Name: []byte("Tracestate"), Value: []byte("a=1")}}
		}
		tracing.Share = float64(random.IntN(2)) / 2
		recorded = nil
		tracing.begin(x, true)
		var want []TraceAttempt
		for tries := random.IntN(4); len(want) < tries; {
			m := &upstream.Member{Endpoint: &upstream.Endpoint{}}
			x.Retries = len(want)
			x.Member = m
			x.beginAttempt(m)
			a := TraceAttempt{Begun: x.Now, Resend: x.Retries, Scheme: "http"}
			now = now.Add(time.Millisecond)
			x.Now = now
			x.answer.Connected, x.answer.FirstByte = time.Duration(random.IntN(2)), time.Duration(random.IntN(2))
			a.Ended, a.Connected, a.FirstByte = x.Now, x.answer.Connected, x.answer.FirstByte
			switch last := len(want)+1 == tries; {
			case !last || random.IntN(4) == 0:
				f := &failure{reason: "connect"}
				x.endAttempt(f)
				a.Reason = f.reason
				x.Status = 502 // if it is the last
			case random.IntN(8) == 0: // nothing ends it
				x.Status, x.Reason = 500, ReasonPanic.Code()
				a.Reason = x.Reason
			default:
				x.Status = 200 + 300*random.IntN(2)
				a.Status = x.Status
				x.endAttempt(nil)
			}
			want = append(want, a)
		}
		waits := 0
		if random.IntN(5) == 0 {
			x.waited(WaitBody, x.Now)
			waits++
		}
		sampled, failed := x.trace != nil && x.trace.Sampled, x.failed()
		tracing.end(x)
		if (recorded != nil) != (sampled || failed) {
			t.Fatalf("%d: sampled %v, failed %v, recorded %v", n, sampled, failed, recorded != nil)
		}
		if recorded == nil {
			continue
		}
		for i := range recorded.Attempts {
			recorded.Attempts[i].Span = SpanID{}
		}
		if !slices.Equal(recorded.Attempts, want) || len(recorded.Waits) != waits || (recorded.Parent != SpanID{}) != parent || (len(recorded.State) > 0) != parent {
			t.Fatalf("%d: recorded %+v, want the attempts %+v", n, recorded, want)
		}
		recorded.Release()
	}
}
