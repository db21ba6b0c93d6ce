package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// TestTracesAreNotMixed: traces use the memory of earlier ones, while some are lost for lack of
// room, some requests are sent twice, and the collector is slow. Still each span is of one
// request alone: what it says of the path, and its IDs, are what the instance was told.
func TestTracesAreNotMixed(t *testing.T) {
	t.Parallel()
	const clients, each = 16, 150
	c := unstartedCollector(t)
	take := c.Config.Handler
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		take.ServeHTTP(w, r)
	})
	c.Start()
	t.Cleanup(c.Close)
	var mu sync.Mutex
	told := make(map[string]string) // the path of a request, by the trace and the span that its instance was told
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.Header.Get("Traceparent"), "-")
		mu.Lock()
		defer mu.Unlock()
		if len(parts) != 4 || told[parts[1]+"-"+parts[2]] != "" {
			t.Errorf("%s has the traceparent %q", r.URL.Path, r.Header.Get("Traceparent"))
			return
		}
		told[parts[1]+"-"+parts[2]] = r.URL.Path
	}))
	t.Cleanup(web.Close)
	good := registered(web.Listener.Addr().String(), "web.example.org")
	bad := breaking(t, "bad", good.Tags...)
	bad.ServiceName = good.ServiceName
	services := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, services, good, bad)
	n := bare(t)
	n.run(nil, "--no-nomad", "--services="+services, "--otlp="+c.URL, "--trace-share=1", "--trace-memory=100000", "--eject-after=0", "--retry-share=1")
	until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for k := range each {
				r, _ := http.NewRequest("GET", fmt.Sprintf("http://%s/%d/%d/%s", n.http, client, k, strings.Repeat("x", client*10)), nil)
				r.Host = "web.example.org"
				res, err := transport.RoundTrip(r)
				if err != nil {
					t.Errorf("%s: %v", r.URL.Path, err)
					return
				}
				res.Body.Close()
			}
		})
	}
	running.Wait()
	until(t, "the last traces", func() bool {
		return strings.Contains(metric(n.admin, "serai_trace_queue_bytes"), " 0\n")
	})
	if metric(n.admin, `serai_trace_spans_dropped_total{why="queue-full"}`) == "" {
		t.Error("no trace was lost for lack of room")
	}
	n.kill(syscall.SIGTERM)
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, seen, checked, again := make(map[string]string), make(map[string]bool), 0, 0
	for _, s := range c.spans {
		trace, span := hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId)
		if seen[trace+span] {
			t.Fatalf("the span %s of trace %s came twice", span, trace)
		}
		seen[trace+span] = true
		if path := attributesOf(s)["url.path"]; s.Kind == tracepb.Span_SPAN_KIND_SERVER && paths[trace] == "" {
			paths[trace] = path
		}
	}
	for _, s := range c.spans {
		trace := hex.EncodeToString(s.TraceId)
		path, a := paths[trace], attributesOf(s)
		if s.Kind != tracepb.Span_SPAN_KIND_CLIENT {
			continue
		}
		if !strings.HasSuffix(a["url.full"], path) || path == "" {
			t.Errorf("a span of the request for %q is for %q", path, a["url.full"])
		}
		if a["http.request.resend_count"] != "" {
			again++
		}
		if got := told[trace+"-"+hex.EncodeToString(s.SpanId)]; a["error.type"] == "" {
			if checked++; got != path {
				t.Errorf("the instance was told of %q in the span of %q", got, path)
			}
		}
	}
	if checked < 50 || again < 10 {
		t.Errorf("only %d spans of attempts came, of which %d are a second one", checked, again)
	}
}
