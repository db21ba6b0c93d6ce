package tracing

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"serai/proxy"
)

// BenchmarkExport is what one trace costs that is recorded, of batches of a hundred.
func BenchmarkExport(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	e, err := NewExporter(Options{URL: server.URL, Getenv: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer e.to.bounded.CloseIdleConnections()
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	batch := make([]*proxy.Trace, 100)
	for i := range batch {
		batch[i] = &proxy.Trace{ID: proxy.TraceID{1}, Span: proxy.SpanID{2}, Begun: at(0), Ended: at(30),
			Attempts: []proxy.TraceAttempt{{Span: proxy.SpanID{3}, Address: "10.0.0.1:8080", Alloc: "alloc", Scheme: "http", Begun: at(1), Ended: at(29), FirstByte: 20 * time.Millisecond, Status: 200}},
			Request: proxy.TraceRequest{Method: "GET", Host: "a.example.org", Path: "/a", Target: "/a", Protocol: "HTTP/1.1", Status: 200, GRPC: -1,
				Routed: true, Namespace: "default", Service: "web", Route: "web", RouteHost: "a.example.org", RoutePath: "/"}}
	}
	b.ReportAllocs()
	for sent := 0; sent < b.N; sent += len(batch) {
		if err := e.send(context.Background(), batch[:min(len(batch), b.N-sent)]); err != nil {
			b.Fatal(err)
		}
	}
}
