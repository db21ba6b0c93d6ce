package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	ws "github.com/coder/websocket"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// traced is a serai whose traces a collector gets over TLS, with an instance that knows what
// it was told.
type traced struct {
	*node
	*collector
	mu   sync.Mutex
	told map[string]string // the traceparent of a request, by its path
}

const tracedHost, tracedParent = "web.example.org", "00f067aa0ba902b7"

func newTraced(t *testing.T) *traced {
	t.Helper()
	x := &traced{node: bare(t), collector: unstartedCollector(t), told: make(map[string]string)}
	x.StartTLS()
	t.Cleanup(x.Close)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		x.told[r.URL.Path] = r.Header.Get("Traceparent")
		x.mu.Unlock()
		if r.URL.Path != "/ws" {
			io.WriteString(w, "fine")
			return
		}
		c, err := ws.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		kind, message, err := c.Read(r.Context())
		if err == nil {
			c.Write(r.Context(), kind, message)
			c.Read(r.Context()) // the end
		}
	}))
	t.Cleanup(web.Close)
	dir, certs := t.TempDir(), t.TempDir()
	authority(t).write(t, certs, tracedHost, tracedHost)
	services, roots := filepath.Join(dir, "services.json"), filepath.Join(dir, "roots.pem")
	writeServices(t, services, registered(web.Listener.Addr().String(), tracedHost), newGRPCInstance(t, "a").registration("ingress.scheme=grpc"))
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run(nil, "--no-nomad", "--services="+services, "--cert-dir="+certs, "--otlp="+x.URL, "--otlp-ca-file="+roots, "--trace-share=1", "--trace-parents=all")
	until(t, "serai to be ready", func() bool { status, _ := get(x.admin, "", "/ready"); return status == 200 })
	return x
}

// traceOf is the ID of a trace of the test.
func traceOf(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d%08x", n) }

func parentOf(n int) string { return "00-" + traceOf(n) + "-" + tracedParent + "-01" }

// whole waits for a trace, and checks that it is one tree within the time of its root, which it
// returns with its attempts.
func (x *traced) whole(t *testing.T, id, parent string, attempts int) (root *tracepb.Span, tries []*tracepb.Span) {
	t.Helper()
	until(t, "the trace "+id, func() bool { return len(x.trace(id)) > 0 })
	spans := x.trace(id)
	known := make(map[string]bool)
	for _, s := range spans {
		known[string(s.SpanId)] = true
		switch s.Kind {
		case tracepb.Span_SPAN_KIND_SERVER:
			if root != nil {
				t.Errorf("the trace %s has two roots", id)
			}
			root = s
		case tracepb.Span_SPAN_KIND_CLIENT:
			tries = append(tries, s)
		}
	}
	if root == nil || hex.EncodeToString(root.ParentSpanId) != parent || len(tries) != attempts || len(known) != len(spans) {
		t.Fatalf("the trace %s of %d attempts, below %q, is %v", id, attempts, parent, spans)
	}
	for _, s := range spans {
		if s != root && !known[string(s.ParentSpanId)] {
			t.Errorf("%s has no parent", s.Name)
		}
		if s.StartTimeUnixNano < root.StartTimeUnixNano || s.EndTimeUnixNano > root.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s lasts from %d to %d, the request from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano, root.StartTimeUnixNano, root.EndTimeUnixNano)
		}
	}
	return root, tries
}

// has checks attributes of a span.
func has(t *testing.T, s *tracepb.Span, want map[string]string) {
	t.Helper()
	got := attributesOf(s)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s of %s is %q, want %q; it has %v", key, s.Name, got[key], value, got)
		}
	}
}

// instanceTold checks that an instance was told the span of the attempt.
func (x *traced) instanceTold(t *testing.T, path string, try *tracepb.Span) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if want := fmt.Sprintf("00-%x-%x-01", try.TraceId, try.SpanId); x.told[path] != want {
		t.Errorf("the instance was told %q, want %q", x.told[path], want)
	}
}

// TestTraceOfEachWay: whichever way a request comes, its trace arrives whole at a collector with
// TLS, and says what happened.
func TestTraceOfEachWay(t *testing.T) {
	t.Parallel()
	x := newTraced(t)
	failed := tracepb.Status_STATUS_CODE_ERROR

	t.Run("gRPC", func(t *testing.T) {
		c, ctx := dialGRPC(t, x.http, grpcHost), within(t)
		if name, err := who(metadata.AppendToOutgoingContext(ctx, "traceparent", parentOf(1)), c); err != nil || name != "a" {
			t.Fatal(name, err)
		}
		root, tries := x.whole(t, traceOf(1), tracedParent, 1)
		has(t, root, map[string]string{"http.request.method": "POST", "url.path": "/own/Who", "http.response.status_code": "200", "rpc.system.name": "grpc", "rpc.response.status_code": "OK",
			"network.protocol.version": "2", "serai.service": "grpc", "error.type": ""})
		has(t, tries[0], map[string]string{"serai.alloc": "alloc-a", "network.protocol.version": "2", "http.response.status_code": "200"})
		if root.Status.GetCode() == failed {
			t.Error("the call has failed")
		}
		err := c.Invoke(metadata.AppendToOutgoingContext(ctx, "traceparent", parentOf(2), "fail-code", "13"), "/own/Fail", new(message), new(message))
		if status.Code(err) != codes.Internal {
			t.Fatal(err)
		}
		root, _ = x.whole(t, traceOf(2), tracedParent, 1)
		has(t, root, map[string]string{"http.response.status_code": "200", "rpc.response.status_code": "INTERNAL", "error.type": "INTERNAL"})
		if root.Status.GetCode() != failed {
			t.Error("the call has not failed")
		}
	})
	t.Run("WebSocket", func(t *testing.T) {
		ctx := within(t)
		c, _, err := ws.Dial(ctx, "ws://"+x.http+"/ws", &ws.DialOptions{Host: tracedHost, HTTPHeader: http.Header{"Traceparent": {parentOf(3)}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(ctx, ws.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != "hello" {
			t.Fatalf("echoed %q, %v", got, err)
		}
		if len(x.trace(traceOf(3))) > 0 {
			t.Error("the trace has come before the end")
		}
		c.Close(ws.StatusNormalClosure, "")
		root, tries := x.whole(t, traceOf(3), tracedParent, 1)
		has(t, root, map[string]string{"http.request.method": "GET", "http.response.status_code": "101", "serai.upgraded": "true", "network.protocol.version": "1.1", "error.type": ""})
		has(t, tries[0], map[string]string{"http.response.status_code": "101", "error.type": ""})
		x.instanceTold(t, "/ws", tries[0])
	})
	t.Run("HTTP/2 with TLS", func(t *testing.T) {
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{ServerName: tracedHost, InsecureSkipVerify: true}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, x.https)
		}}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequest("GET", "https://"+tracedHost+"/h2?secret=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", parentOf(4))
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 200 || res.ProtoMajor != 2 {
			t.Fatalf("answered %s %s", res.Proto, res.Status)
		}
		root, tries := x.whole(t, traceOf(4), tracedParent, 1)
		has(t, root, map[string]string{"url.scheme": "https", "url.path": "/h2", "http.route": "/", "network.protocol.version": "2", "http.response.status_code": "200", "server.address": tracedHost, "client.address": "127.0.0.1"})
		has(t, tries[0], map[string]string{"network.protocol.version": "1.1"})
		x.instanceTold(t, "/h2", tries[0])
		for _, s := range x.trace(traceOf(4)) {
			if strings.Contains(s.String(), "secret") {
				t.Errorf("a span has the query: %v", s)
			}
		}
	})
	t.Run("no route", func(t *testing.T) {
		if status, _ := ask(t, x.node, "nobody.example.org", parentOf(5)); status != 404 {
			t.Fatalf("answered %d", status)
		}
		root, _ := x.whole(t, traceOf(5), tracedParent, 0)
		has(t, root, map[string]string{"http.response.status_code": "404", "serai.reason": "no-host", "serai.route": "", "error.type": ""})
		if len(x.trace(traceOf(5))) != 1 || root.Name != "GET" {
			t.Errorf("the trace is %v", x.trace(traceOf(5)))
		}
	})
	// A head that is refused has no valid traceparent: its trace is new.
	for want, head := range map[string]string{
		"431": "GET /refused HTTP/1.1\r\nHost: " + tracedHost + "\r\nTraceparent: " + parentOf(6) + "\r\nX-Filler: " + strings.Repeat("x", 200_000) + "\r\n\r\n",
		"400": "GET /refused HTTP/1.1\r\nHost: " + tracedHost + "\r\nHost: other.example.org\r\nTraceparent: " + parentOf(6) + "\r\n\r\n",
	} {
		t.Run(want, func(t *testing.T) {
			if got := answersTo(t, "127.0.0.1", x.http, []byte(head)); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Fatalf("answered %q", got)
			}
			var found []*tracepb.Span
			until(t, "the trace", func() bool { found = x.refused(want); return len(found) > 0 })
			id := hex.EncodeToString(found[0].TraceId)
			root, _ := x.whole(t, id, "", 0)
			if reason := attributesOf(root)["serai.reason"]; len(found) != 1 || len(x.trace(id)) != 1 || id == traceOf(6) || reason == "" {
				t.Errorf("refused for %q: %v", reason, found)
			}
		})
	}
	x.kill(syscall.SIGTERM)
}

// refused are the spans of requests that were answered with a status.
func (c *collector) refused(status string) (all []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if attributesOf(s)["http.response.status_code"] == status {
			all = append(all, s)
		}
	}
	return all
}
