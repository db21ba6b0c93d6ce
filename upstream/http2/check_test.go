package http2_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
	"serai/upstream/http2"
)

// health answers gRPC's health service as its server does, with a status for each
// service, and counts the connections that it is asked over.
type health struct {
	serving atomic.Int32 // HealthCheckResponse.ServingStatus of shop.v1.Orders
	asked   sync.Map     // addresses
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Store(r.RemoteAddr, nil)
	body, _ := io.ReadAll(r.Body)
	if r.Method != "POST" || r.URL.Path != upstream.HealthMethod || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
		http.Error(w, "what?", 400)
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	switch string(body) {
	case "\x00\x00\x00\x00\x00":
		w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
	case "\x00\x00\x00\x00\x10\x0a\x0eshop.v1.Orders":
		if n := h.serving.Load(); n == 0 {
			w.Write([]byte{0, 0, 0, 0, 0}) // UNKNOWN, which is not written
		} else {
			w.Write([]byte{0, 0, 0, 0, 2, 8, byte(n)})
		}
	default: // trailers only: NOT_FOUND
		w.Header().Del("Trailer")
		w.Header().Set("Grpc-Status", "5")
		return
	}
	w.Header().Set("Grpc-Status", "0")
}

// checked makes an endpoint whose check runs until the test ends.
func checked(t *testing.T, address string, k upstream.Check) *upstream.Endpoint {
	t.Helper()
	k.Interval, k.Timeout = 10*time.Millisecond, long
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: http2.New(http2.Options{}), MinCheckInterval: -1, ProbeRate: 1000})
	e := r.Acquire(upstream.Target{Address: address, Instance: "a", Scheme: upstream.GRPC, Check: k})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; r.Release(e) })
	return e
}

// TestGRPCCheck: SERVING makes an instance ready, anything else takes it out and says
// why. A check has a connection of its own.
func TestGRPCCheck(t *testing.T) {
	h := &health{}
	address := serve(t, h.ServeHTTP)
	whole := checked(t, address, upstream.Check{Path: upstream.HealthMethod, GRPC: true})
	until(t, "the server as a whole is ready", func() bool { return whole.State() == upstream.Ready })
	unknown := checked(t, address, upstream.Check{Path: upstream.HealthMethod, GRPC: true, Service: "no.Such"})
	until(t, "a reason", func() bool { return strings.Contains(unknown.Status().Cause, `grpc-status "5"`) })

	orders := checked(t, address, upstream.Check{Path: upstream.HealthMethod, GRPC: true, Service: "shop.v1.Orders"})
	for n, says := range []string{"UNKNOWN", "", "NOT_SERVING", "", "SERVICE_UNKNOWN"} {
		if h.serving.Store(int32(n)); n == 3 {
			h.serving.Store(1)
		} else if n == 4 {
			h.serving.Store(3)
		}
		if says == "" {
			until(t, "ready", func() bool { return orders.State() == upstream.Ready })
		} else {
			until(t, says, func() bool {
				return orders.State() == upstream.Probing && strings.Contains(orders.Status().Cause, "it is "+says)
			})
		}
	}
	conns := 0
	h.asked.Range(func(any, any) bool { conns++; return true })
	if conns < 5 {
		t.Errorf("%d connections for more checks than that", conns)
	}
	if n := orders.Transport().Status().Idle; n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

// TestPathCheck: a check of a path is made over HTTP/2, too.
func TestPathCheck(t *testing.T) {
	var status atomic.Int32
	status.Store(503)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Host != "a.test" || r.URL.Path != "/up" {
			t.Errorf("asked for %s %s %s", r.Proto, r.Host, r.URL)
		}
		w.WriteHeader(int(status.Load()))
	})
	e := checked(t, address, upstream.Check{Path: "/up", Host: "a.test", StatusMin: 200, StatusMax: 299})
	until(t, "a reason", func() bool { return strings.Contains(e.Status().Cause, "status 503 is not within 200-299") })
	status.Store(200)
	until(t, "ready", func() bool { return e.State() == upstream.Ready })
	status.Store(404)
	until(t, "not ready", func() bool { return e.State() == upstream.Probing })
}

// TestFieldsOfALaterVersion: fields that are not known do not keep an answer of gRPC's health
// service from passing, of whatever type they are.
func TestFieldsOfALaterVersion(t *testing.T) {
	for name, m := range map[string][]byte{
		"text, behind": {8, 1, 18, 3, 'a', 'b', 'c'},
		"64 bits":      {8, 1, 25, 1, 2, 3, 4, 5, 6, 7, 8},
		"before":       {18, 1, 'a', 24, 7, 8, 1},
		"a group":      {8, 1, 19, 24, 7, 20},
	} {
		t.Run(name, func(t *testing.T) {
			e := checked(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Grpc-Status", "0")
				w.Write(append([]byte{0, 0, 0, 0, byte(len(m))}, m...))
			}), upstream.Check{Path: upstream.HealthMethod, GRPC: true})
			until(t, "an answer", func() bool { return e.State() == upstream.Ready || e.Status().Cause != "" })
			if e.State() != upstream.Ready {
				t.Errorf("it is not ready: %s", e.Status().Cause)
			}
		})
	}
}

// TestNotGRPC: what is no answer of gRPC's health service passes no check.
func TestNotGRPC(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"404":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"no message": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Grpc-Status", "0") },
		"a page":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>fine</html>") },
		"an endless": func(w http.ResponseWriter, r *http.Request) { io.Copy(w, endless{}) },
		"no status":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0, 0, 0, 0, 2, 8, 1}) },
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{1, 0, 0, 0, 2, 8, 1})
		},
		"wrong length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{0, 0, 0, 0, 9, 8, 1})
		},
		"cut varint": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{0, 0, 0, 0, 2, 8, 0x81})
		},
		"a status that is text": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{0, 0, 0, 0, 3, 10, 1, 1})
		},
		"a cut field": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{0, 0, 0, 0, 5, 8, 1, 18, 3, 'a'})
		},
		"another field": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "0")
			w.Write([]byte{0, 0, 0, 0, 2, 16, 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := checked(t, serve(t, h), upstream.Check{Path: upstream.HealthMethod, GRPC: true})
			until(t, "a reason", func() bool { return strings.Contains(e.Status().Cause, "check=grpc") })
			if e.State() != upstream.Probing {
				t.Error("it is ready")
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
