package tracing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"serai/proxy"
	"serai/tracing"
)

// long bounds every wait of these tests; nothing takes nearly as long.
const long = 60 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// receiver receives what is exported.
type receiver struct {
	mu       sync.Mutex
	requests int
	spans    []*tracepb.Span
	about    map[string]string // the last message's resource
	head     http.Header       // the last one's
	// answer answers in place of an empty 200, before the spans are taken, and reports
	// whether they are; nil for that.
	answer func(w http.ResponseWriter, request int) (taken bool)
}

// ServeHTTP implements http.Handler.
func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(body)
	}
	message, err := io.ReadAll(body)
	c.mu.Lock()
	c.requests++
	c.head = r.Header.Clone()
	request := c.requests
	c.mu.Unlock()
	if c.answer != nil && !c.answer(w, request) || err != nil {
		return
	}
	var m collectorpb.ExportTraceServiceRequest
	if r.Header.Get("Content-Type") == "application/json" {
		c.takeJSON(message)
		return
	}
	if err := proto.Unmarshal(message, &m); err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range m.ResourceSpans {
		c.about = make(map[string]string)
		for _, a := range resource.Resource.Attributes {
			c.about[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// takeJSON takes the names of spans, as OTLP writes them in JSON: IDs are not in base64.
func (c *receiver) takeJSON(message []byte) {
	var m struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []struct{ Name string } }
		}
	}
	if err := json.Unmarshal(message, &m); err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range m.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, &tracepb.Span{Name: s.Name})
			}
		}
	}
}

// got returns the spans that have come, and in how many requests.
func (c *receiver) got() ([]*tracepb.Span, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans, c.requests
}

// listen has c answer at an address of its own until the test ends.
func (c *receiver) listen(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return s
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// running is an Exporter that runs until stop, or the end of the test.
type running struct {
	*tracing.Exporter
	log  *lines
	stop func()
}

// run runs an Exporter with an environment of its own.
func run(t *testing.T, o tracing.Options) *running {
	t.Helper()
	r := &running{log: &lines{}}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	}
	var err error
	if r.Exporter, err = tracing.NewExporter(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { r.Run(ctx) })
	r.stop = func() { cancel(); ended.Wait() }
	t.Cleanup(r.stop)
	return r
}

// newTrace is the trace of a request that was sent once, to alloc. It has five spans.
func newTrace(n byte) *proxy.Trace {
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	return &proxy.Trace{
		ID: proxy.TraceID{1, n}, Span: proxy.SpanID{2, n}, Sampled: true, Begun: at(0), Ended: at(30),
		Attempts: []proxy.TraceAttempt{{
			Span: proxy.SpanID{3, n}, Address: "10.0.0.1:8080", Alloc: "alloc", Scheme: "http", Begun: at(1), Ended: at(29),
			Connected: 2 * time.Millisecond, FirstByte: 20 * time.Millisecond, Status: 200,
		}},
		Request: proxy.TraceRequest{
			Method: "GET", Host: "a.example.org:8443", Path: "/a", Target: "/a", Protocol: "HTTP/1.1", Status: 200, GRPC: -1,
			Routed: true, Namespace: "default", Service: "web", Route: "web", RouteHost: "a.example.org", RoutePath: "/",
		},
	}
}

const spansOfTrace = 5

// settled waits until nothing is left to be sent.
func (r *running) settled(t *testing.T, want uint64) tracing.Status {
	t.Helper()
	until(t, "all spans to be counted", func() bool {
		s := r.Status()
		return s.Exported+s.Failed+s.QueueFull >= want && s.Waiting == 0
	})
	return r.Status()
}
