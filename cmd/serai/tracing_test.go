package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"serai/nomad"
)

// collector receives traces as a collector does.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	keys  []string // that came with the messages
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := unstartedCollector(t)
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func unstartedCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &m)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("the collector got %s, %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keys = append(c.keys, r.Header.Get("X-Key"))
		for _, resource := range m.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	return c
}

// trace returns the spans of a trace that have come.
func (c *collector) trace(id string) (all []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == id {
			all = append(all, s)
		}
	}
	return all
}

// attributesOf are those of a span as text.
func attributesOf(s *tracepb.Span) map[string]string {
	all := make(map[string]string)
	for _, a := range s.Attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		default:
			all[a.Key] = fmt.Sprint(a.Value.GetBoolValue())
		}
	}
	return all
}

// breaking is an instance that closes each connection that has brought a request.
func breaking(t *testing.T, name string, tags ...string) nomad.Registration {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				c.SetDeadline(time.Now().Add(long))
				c.Read(make([]byte, 4096))
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return nomad.Registration{ID: "id-" + name, ServiceName: "web", Namespace: "default", AllocID: "alloc-" + name, JobID: "web",
		Tags: tags, Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

// ask makes a request with a traceparent.
func ask(t *testing.T, n *node, host, traceparent string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+n.http+"/a%20b?secret=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.Close = host, true
	r.Header.Set("User-Agent", "caf\xe9")
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
		r.Header.Set("Tracestate", "vendor=1")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// TestTraceOfARetry: the trace of a request that was sent to two instances arrives whole, as
// does one that serai answers itself; the log, the answer and the metrics name it.
func TestTraceOfARetry(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	dir := t.TempDir()
	services, log, headers := filepath.Join(dir, "services.json"), filepath.Join(dir, "log"), filepath.Join(dir, "headers")
	tags := []string{"ingress.host=web.example.org", "ingress.response-set=X-Trace: {trace-id}"}
	good := instance(t, "web", tags...)
	writeServices(t, services, good, breaking(t, "bad", tags...))
	if err := os.WriteFile(headers, []byte("X-Key: abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := bare(t)
	n.run(nil, "--no-nomad", "--services="+services, "--otlp="+c.URL, "--otlp-headers-file="+headers, "--trace-share=0",
		"--trusted-proxies=127.0.0.1", "--access-log="+log, "--eject-after=0", "--retry-share=1")
	until(t, "two ready instances", func() bool { // a retry does not wait for one that is still probed
		_, page := get(n.admin, "", "/api/v1/instances?state=ready")
		return strings.Contains(page, `"total": 2`)
	})

	const parent = "00f067aa0ba902b7"
	id, tries := "", 0
	until(t, "a request that is sent twice", func() bool {
		tries++
		id = fmt.Sprintf("4bf92f3577b34da6a3ce929d%08x", tries)
		if status, body := ask(t, n, "web.example.org", "00-"+id+"-"+parent+"-01"); status != 200 {
			t.Fatalf("answered %d %s", status, body)
		}
		until(t, "its trace", func() bool { return len(c.trace(id)) > 1 })
		clients := 0
		for _, s := range c.trace(id) {
			if s.Kind == tracepb.Span_SPAN_KIND_CLIENT {
				clients++
			}
		}
		return clients == 2
	})
	var server *tracepb.Span
	attempts := make(map[string]*tracepb.Span)
	for _, s := range c.trace(id) {
		switch s.Kind {
		case tracepb.Span_SPAN_KIND_SERVER:
			server = s
		case tracepb.Span_SPAN_KIND_CLIENT:
			attempts[attributesOf(s)["serai.alloc"]] = s
		}
	}
	if server == nil || hex.EncodeToString(server.ParentSpanId) != parent || server.TraceState != "vendor=1" || server.Name != "GET /" {
		t.Fatalf("the span of the request is %v", server)
	}
	for key, want := range map[string]string{"http.request.method": "GET", "url.path": "/a%20b", "http.route": "/", "http.response.status_code": "200", "serai.service": "web",
		"serai.namespace": "default", "serai.alloc": "alloc-web", "serai.retries": "1", "network.protocol.version": "1.1", "url.scheme": "http", "user_agent.original": "caf\uFFFD"} {
		if got := attributesOf(server)[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	bad, last := attempts["alloc-bad"], attempts["alloc-web"]
	if bad == nil || last == nil || string(bad.ParentSpanId) != string(server.SpanId) || string(last.ParentSpanId) != string(server.SpanId) {
		t.Fatalf("the attempts are %v", attempts)
	}
	if a := attributesOf(bad); a["error.type"] != "upstream-closed" || bad.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the first attempt has %v", a)
	}
	if a := attributesOf(last); a["http.request.resend_count"] != "1" || a["http.response.status_code"] != "200" || !strings.HasSuffix(a["url.full"], "/a%20b") {
		t.Errorf("the second attempt has %v", a)
	}
	for _, s := range c.trace(id) {
		if s.StartTimeUnixNano < server.StartTimeUnixNano || s.EndTimeUnixNano > server.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s lasts from %d to %d, the request from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano, server.StartTimeUnixNano, server.EndTimeUnixNano)
		}
	}

	// serai's own answer, and one that is asked for just before the end.
	const missed = "4bf92f3577b34da6a3ce929d0e0e4736"
	if status, _ := ask(t, n, "nobody.example.org", "00-"+missed+"-"+parent+"-01"); status != 404 {
		t.Errorf("answered %d", status)
	}
	until(t, "an exemplar", func() bool {
		return strings.Contains(openMetrics(t, n.admin), `# {trace_id="4bf92f3577b34da6a3ce929d`)
	})
	n.kill(syscall.SIGTERM)
	spans := c.trace(missed)
	if len(spans) != 1 || attributesOf(spans[0])["serai.reason"] != "no-host" || attributesOf(spans[0])["http.response.status_code"] != "404" {
		t.Errorf("the trace of serai's own answer is %v", spans)
	}
	if c.keys[0] != "abc" {
		t.Errorf("the collector got the key %q", c.keys[0])
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(text); !regexp.MustCompile(`"trace_id":"`+id+`".*"retries":1`).MatchString(text) || !strings.Contains(text, `"trace_id":"`+missed+`"`) {
		t.Errorf("the access log has no trace: %s", text)
	}
}

// openMetrics returns the metrics in the format that has exemplars.
func openMetrics(t *testing.T, address string) string {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasSuffix(string(text), "# EOF\n") {
		t.Fatalf("%v, %.200q", err, text)
	}
	return string(text)
}

// TestCollectorFails: a collector that is away, hangs or refuses costs spans, which are
// counted, and neither a request nor the end of serai waits for it.
func TestCollectorFails(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-hang }))
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, strings.Repeat("no\n", 1<<20))
	}))
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(func() { close(hang); hangs.Close(); refuses.Close(); busy.Close() })
	for name, test := range map[string]struct{ url, why string }{
		"away": {"http://127.0.0.1:1", "refused"}, "hangs": {hangs.URL, "queue-full"}, "refuses": {refuses.URL, "refused"}, "busy": {busy.URL, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := bare(t)
			n.run(nil, "--no-nomad", "--services="+servicesFile(t, "a.example.org"), "--otlp="+test.url, "--trace-share=1", "--trace-memory=20000")
			until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
			lost := regexp.MustCompile(`(?m)^serai_trace_spans_dropped_total\{why="` + test.why + `"\} [1-9]`)
			until(t, "spans to be lost", func() bool {
				if status, body := get(n.http, "a.example.org", "/"); status != 200 {
					t.Fatalf("answered %d %s", status, body)
				}
				_, metrics := get(n.admin, "", "/metrics")
				return lost.MatchString(metrics)
			})
			n.kill(syscall.SIGTERM)
		})
	}
}

// TestTraceFlags: what is wrong with the settings of traces is told at the start.
func TestTraceFlags(t *testing.T) {
	t.Parallel()
	services := servicesFile(t, "a.example.org")
	for _, test := range []struct {
		env  map[string]string
		flag string
		want string
	}{
		{nil, "--otlp=127.0.0.1:4318", "want http://HOST:4318"},
		{nil, "--otlp=http://u:hunter2@127.0.0.1:4318", "put them into a header"},
		{nil, "--otlp=env", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "jaeger_remote"}, "--otlp=env", "jaeger_remote"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "--otlp=env", "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "--otlp=http://127.0.0.1:1", "want http/protobuf"},
		{map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nonexistent"}, "--otlp=https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"}, "--otlp=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS"},
		{nil, "--trace-share=NaN", "--trace-share"},
		{nil, "--trace-errors=-1", "--trace-errors"},
		{nil, "--otlp-ca-file=x", "without --otlp"},
	} {
		var out, why buffer
		err := run(t.Context(), []string{"serve", "--no-nomad", "--services=" + services, "--http=127.0.0.1:0", "--admin=", test.flag},
			func(name string) string { return test.env[name] }, &out, &why)
		if text := fmt.Sprint(err) + why.String(); err == nil || !strings.Contains(text, test.want) || strings.Contains(text, "hunter2") {
			t.Errorf("%s with %v: %s", test.flag, test.env, text)
		}
	}
}
