package tracing_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"serai/proxy"
	"serai/tracing"
)

// TestSpans: a trace arrives as the spans that it says it has, with the IDs that instances were
// told.
func TestSpans(t *testing.T) {
	c := &receiver{}
	e := run(t, tracing.Options{URL: c.listen(t).URL, Version: "1.2", Node: "node-1", Instance: "alloc-9"})
	trace := newTrace(7)
	trace.Parent, trace.State = proxy.SpanID{9}, []byte("vendor=1")
	trace.Attempts[0].Resend = 40
	trace.Waits = []proxy.TraceWait{{What: proxy.WaitInstance, Begun: trace.Begun, Ended: trace.Begun.Add(-time.Second)}} // a clock that went back
	if trace.Spans() != spansOfTrace+1 {
		t.Errorf("it has %d spans", trace.Spans())
	}
	e.Record(trace)
	if s := e.settled(t, 6); s.Exported != 6 || s.Failed != 0 || s.QueueFull != 0 {
		t.Errorf("counted %+v", s)
	}
	spans, _ := c.got()
	byName := make(map[string]*tracepb.Span)
	for _, s := range spans {
		byName[s.Name] = s
		if string(s.TraceId) != string(trace.ID[:]) || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s belongs to %x and lasts from %d to %d", s.Name, s.TraceId, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
	server, client := byName["GET /"], byName["GET"]
	if len(spans) != 6 || server == nil || client == nil {
		t.Fatalf("got %v", spans)
	}
	if server.Kind != tracepb.Span_SPAN_KIND_SERVER || string(server.SpanId) != string(trace.Span[:]) || string(server.ParentSpanId) != string(trace.Parent[:]) || server.TraceState != "vendor=1" {
		t.Errorf("the request is %v", server)
	}
	if client.Kind != tracepb.Span_SPAN_KIND_CLIENT || hex.EncodeToString(client.SpanId) != "0307000000000000" || string(client.ParentSpanId) != string(server.SpanId) {
		t.Errorf("the attempt is %v", client)
	}
	for _, name := range []string{"connect", "wait for the first byte", "answer"} {
		if s := byName[name]; s == nil || string(s.ParentSpanId) != string(client.SpanId) {
			t.Errorf("%s is %v", name, s)
		}
	}
	if s := byName[proxy.WaitInstance]; s == nil || string(s.ParentSpanId) != string(server.SpanId) {
		t.Errorf("the wait is %v", s)
	}
	for _, a := range client.Attributes {
		if a.Key == "http.request.resend_count" && a.Value.GetIntValue() != 40 {
			t.Errorf("it was sent again %v times", a.Value)
		}
	}
	for key, want := range map[string]string{"service.name": "serai", "service.version": "1.2", "host.id": "node-1", "service.instance.id": "alloc-9"} {
		if c.about[key] != want {
			t.Errorf("%s is %q, want %q", key, c.about[key], want)
		}
	}
}

// TestAllIsCounted: whatever becomes of spans, each is counted once, and no byte is counted any
// more in the end: of goroutines that record all the time, beside a collector that is slow and
// refuses some.
func TestAllIsCounted(t *testing.T) {
	c := &receiver{answer: func(w http.ResponseWriter, request int) bool {
		time.Sleep(5 * time.Millisecond)
		if request%3 == 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
		return request%3 != 0
	}}
	e := run(t, tracing.Options{URL: c.listen(t).URL, Memory: 1 << 20})
	const recorders, each = 8, 500
	var recording sync.WaitGroup
	for range recorders {
		recording.Go(func() {
			for i := range each {
				e.Record(newTrace(byte(i)))
				if s := e.Status(); s.Waiting > s.Limit || s.Waiting < 0 {
					t.Errorf("%d of %d bytes wait", s.Waiting, s.Limit)
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	recording.Wait()
	const all = recorders * each * spansOfTrace
	s := e.settled(t, all)
	if s.Exported+s.Failed+s.QueueFull != all || s.Exported == 0 || s.Failed == 0 {
		t.Errorf("of %d spans %+v", all, s)
	}
	if spans, _ := c.got(); uint64(len(spans)) != s.Exported {
		t.Errorf("%d spans came, and %d were counted", len(spans), s.Exported)
	}
}

// TestHangs: while a collector hangs nobody waits for it, what waits is bounded, what does not
// fit is counted, and the end comes.
func TestHangs(t *testing.T) {
	hang := make(chan struct{})
	c := &receiver{answer: func(http.ResponseWriter, int) bool { <-hang; return false }}
	server := c.listen(t)
	e := run(t, tracing.Options{URL: server.URL, Memory: 20_000})
	t.Cleanup(func() { close(hang); server.CloseClientConnections() })
	until(t, "spans to be lost", func() bool {
		e.Record(newTrace(1))
		s := e.Status()
		return s.QueueFull > 0 && s.Waiting <= s.Limit
	})
	until(t, "a request", func() bool { _, n := c.got(); return n > 0 })
	e.stop()
	if s := e.Status(); s.Exported != 0 || s.QueueFull == 0 {
		t.Errorf("counted %+v", s)
	}
}

// TestLastTraces: what was recorded just before the end is sent.
func TestLastTraces(t *testing.T) {
	c := &receiver{}
	e := run(t, tracing.Options{URL: c.listen(t).URL})
	for i := range 300 { // more than a batch
		e.Record(newTrace(byte(i)))
	}
	e.stop()
	if spans, _ := c.got(); len(spans) != 300*spansOfTrace {
		t.Errorf("%d spans came", len(spans))
	}
}

// TestExemplars: of each route and bucket the newest trace stands for the others, and however
// many routes there are, only so many are kept.
func TestExemplars(t *testing.T) {
	c := &receiver{}
	e := run(t, tracing.Options{URL: c.listen(t).URL, Memory: 64 << 20})
	unrouted := newTrace(9)
	unrouted.Request.Routed = false
	older, newer, slow := newTrace(1), newTrace(2), newTrace(3)
	slow.Ended = slow.Begun.Add(time.Hour)
	for _, x := range []*proxy.Trace{unrouted, older, newer, slow} {
		e.Record(x)
	}
	e.settled(t, 4*spansOfTrace)
	all := e.Exemplars()
	if len(all) != 2 {
		t.Fatalf("kept %+v", all)
	}
	for _, x := range all {
		want := hex.EncodeToString(newer.ID[:])
		if x.Seconds > 60 {
			want = hex.EncodeToString(slow.ID[:])
		}
		if x.TraceID != want || x.Service != "web" {
			t.Errorf("kept %+v", x)
		}
	}
	const many = 5000
	for i := range many {
		x := newTrace(1)
		x.Request.Route = string(rune('a'+i%26)) + hex.EncodeToString([]byte{byte(i >> 8), byte(i)})
		until(t, "room", func() bool { s := e.Status(); return s.Waiting < s.Limit/2 })
		e.Record(x)
	}
	e.settled(t, (many+4)*spansOfTrace)
	if n := len(e.Exemplars()); n != 4096 {
		t.Errorf("%d are kept", n)
	}
}

// TestNothingRuns: an Exporter that was made and never run has started nothing, and Run ends
// with its context.
func TestNothingRuns(t *testing.T) {
	e, err := tracing.NewExporter(tracing.Options{URL: "http://127.0.0.1:1", Getenv: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != context.Canceled {
		t.Errorf("Run returns %v", err)
	}
}
