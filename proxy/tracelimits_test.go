package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serai/front"
	budgets "serai/internal/memory"
	"serai/proxy"
)

// newInstanceHTTP1 has h answer HTTP/1.
func newInstanceHTTP1(t *testing.T, h http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestTraceTrailers: where serai says which trace a request belongs to, no trailer of the
// client's says something else; without tracing they pass like any others.
func TestTraceTrailers(t *testing.T) {
	tells := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%q %q %q", r.Trailer.Get("X-Sum"), r.Trailer.Get("Traceparent"), r.Trailer.Get("Tracestate"))
	}
	const sent = `"7" "` + goodParent + `-01" "a=1"`
	tracing := func() *proxy.Tracing { return &proxy.Tracing{Record: func(*proxy.Trace) {}} }
	for name, test := range map[string]struct {
		tracing *proxy.Tracing
		tags    []string
		want    string
	}{
		"traced": {tracing(), nil, `"7" "" ""`}, "trace=off": {tracing(), []string{"ingress.trace=off"}, `"7" "" ""`}, "no tracing": {nil, nil, sent},
	} {
		for scheme, instance := range map[string]string{"http": newInstanceHTTP1(t, tells), "h2c": newInstanceHTTP2(t, tells)} {
			for engine, start := range engines {
				t.Run(name+" "+engine+" "+scheme, func(t *testing.T) {
					speaks := speaksHTTP1()
					if scheme == "h2c" {
						speaks = speaksHTTP2()
					}
					n := newNode(t, proxy.Options{Tracing: test.tracing}, speaks, []string{instance}, append(test.tags, "ingress.scheme="+scheme)...)
					c := start(t, n).open(t, request{method: "POST", target: "/", fields: []string{id, "Trailer: X-Sum, Traceparent, Tracestate"}, length: -1, body: "some"})
					c.finish("X-Sum: 7", "Traceparent: "+goodParent+"-01", "Tracestate: a=1")
					answered(t, c, 200, test.want)
				})
			}
		}
	}
}

// TestTraceMemory: the trace of a request is part of what it takes of the memory that clients
// share, from its beginning to its end; without tracing nothing is taken for it.
func TestTraceMemory(t *testing.T) {
	for name, start := range engines {
		if name == "memory" {
			continue // it has no clients
		}
		t.Run(name, func(t *testing.T) {
			taken := func(tracing *proxy.Tracing) int64 {
				b, i := budgets.NewBudget(64<<20), newInstance(t)
				n := newNode(t, proxy.Options{Tracing: tracing}, speaksHTTP1(), []string{i.address})
				n.clients = front.NewClients(b, 0)
				c := start(t, n).open(t, request{method: "GET", target: "/", fields: []string{id}})
				in := i.next()
				in.head()
				bytes, _ := b.Taken(budgets.Requests)
				if want := n.proxy.RequestCost(); bytes != want {
					t.Errorf("a request takes %d bytes, and costs %d", bytes, want)
				}
				in.send(fine)
				answered(t, c, 200, "fine")
				until(t, "all to be given back", func() bool { left, _ := b.Taken(budgets.Requests); return left == 0 })
				return bytes
			}
			without, with := taken(nil), taken(&proxy.Tracing{Record: func(*proxy.Trace) {}})
			if trace := with - without; trace < 4<<10 || trace > 8<<10 {
				t.Errorf("a trace takes %d bytes", trace)
			}
		})
	}
}

// TestTraceShare: about as many requests are recorded as the share says, whoever asks.
func TestTraceShare(t *testing.T) {
	const requests, share = 2000, 0.25 // so 500, with a standard deviation of 19
	r, i := &traces{}, newInstanceHTTP1(t, func(http.ResponseWriter, *http.Request) {})
	n := newNode(t, proxy.Options{Tracing: &proxy.Tracing{Share: share, Record: r.record}}, speaksHTTP1(), []string{i})
	address := listen1(t, n).address
	for j := range requests {
		q, err := http.NewRequest("GET", "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = host
		if j%2 == 0 { // what a stranger wants does not count
			q.Header.Set("Traceparent", goodParent+"-01")
		}
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	until(t, "the end of the requests", func() bool { return n.proxy.Inflight() == 0 })
	all, continued := r.recorded(), 0
	for _, one := range all {
		if strings.HasPrefix(fmt.Sprintf("%x", one.ID), goodTrace) {
			continued++
		}
		if !one.Sampled {
			t.Error("one was recorded that instances were not told of")
		}
	}
	if len(all) < 370 || len(all) > 630 || continued < 150 || continued > 350 {
		t.Errorf("%d were recorded, %d of them continue a trace", len(all), continued)
	}
}
