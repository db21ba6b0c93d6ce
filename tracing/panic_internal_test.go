package tracing

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"serai/proxy"
)

// fragile is a client that panics with the first batch.
type fragile struct{ uploads int }

func (*fragile) Start(context.Context) error { return nil }
func (*fragile) Stop(context.Context) error  { return nil }
func (f *fragile) UploadTraces(context.Context, []*tracepb.ResourceSpans) error {
	if f.uploads++; f.uploads == 1 {
		panic("a fault")
	}
	return nil
}

// TestPanic: a fault in what makes and sends spans costs that batch, which is counted and
// logged with its stack; the next one arrives, and no byte of the first stays counted.
func TestPanic(t *testing.T) {
	for name, first := range map[string]*proxy.Trace{
		"sending": {Request: proxy.TraceRequest{GRPC: -1}},
		"making":  {Request: proxy.TraceRequest{GRPC: -1, Protocol: "?"}}, // no protocol is that short
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			panics := 0
			e, err := NewExporter(Options{URL: "http://127.0.0.1:1", Getenv: func(string) string { return "" }, Logger: slog.New(slog.NewTextHandler(&log, nil)), Panicked: func() { panics++ }})
			if err != nil {
				t.Fatal(err)
			}
			client := &fragile{}
			if name == "making" {
				client.uploads = 1
			}
			e.client = client
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { e.Run(ctx) })
			for i, trace := range []*proxy.Trace{first, {Request: proxy.TraceRequest{GRPC: -1}}} {
				e.Record(trace)
				for end := time.Now().Add(30 * time.Second); e.exported.Load()+e.failed.Load() < uint64(i+1) && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
			}
			cancel()
			running.Wait()
			if s := e.Status(); s.Failed != 1 || s.Exported != 1 || s.Waiting != 0 || panics != 1 {
				t.Errorf("counted %+v and %d panics", s, panics)
			}
			if text := log.String(); strings.Count(text, "please report this") != 1 || !strings.Contains(text, "panic_internal_test.go") && name == "sending" || strings.Contains(text, "level=WARN") {
				t.Errorf("logged %s", text)
			}
		})
	}
}
