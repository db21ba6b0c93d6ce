package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/proxy"
	"serai/upstream"
	"serai/upstream/http2"
)

// speaksHTTP2 is a registry's options.
func speaksHTTP2() upstream.RegistryOptions {
	return upstream.RegistryOptions{Transport: http2.New(http2.Options{})}
}

// newInstanceHTTP2 has h answer HTTP/2 without TLS.
func newInstanceHTTP2(t *testing.T, h http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// newInstancePlayed has each request of each connection played by play, which gets its
// stream. The connection ends when play says so.
func newInstancePlayed(t *testing.T, play func(f *x.Framer, stream uint32) (more bool), settings ...x.Setting) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var open sync.Map
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			running.Go(func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(x.ClientPreface))); err != nil {
					return // a probe
				}
				f := x.NewFramer(c, c)
				f.WriteSettings(settings...)
				for {
					in, err := f.ReadFrame()
					if err != nil {
						return
					}
					if h, ok := in.(*x.HeadersFrame); ok && !play(f, h.StreamID) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return l.Addr().String()
}

// says answers a stream with a status alone.
func says(f *x.Framer, stream uint32, status string) {
	var b bytes.Buffer
	hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: status})
	f.WriteHeaders(x.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
}

// TestOverHTTP2: requests of clients of HTTP/1 get to an instance that speaks
// HTTP/2, and its answers back, with trailers both ways.
func TestOverHTTP2(t *testing.T) {
	address := newInstanceHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(103)
		fmt.Fprintf(w, "%s %s %s %s %q %s %s", r.Proto, r.Method, r.Host, r.RequestURI, body, r.Trailer.Get("X-Sum"), r.Header.Get("X-Forwarded-Host"))
		w.Header().Set("X-Sum", "9")
	})
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{address}, "ingress.scheme=h2c")
			c := start(t, n).open(t, request{method: "POST", target: "/a?b", fields: []string{id, "TE: trailers", "Trailer: X-Sum"}, length: -1, body: "some"})
			c.send("more")
			c.finish("X-Sum: 7")
			if h := c.head(); h.status != 103 {
				t.Errorf("the client is told %d", h.status)
			}
			h := c.head()
			body, trailers, whole := c.rest()
			want := `HTTP/2.0 POST a.test /a?b "somemore" 7 a.test`
			if h.status != 200 || body != want || !whole || len(trailers) != 1 || !strings.EqualFold(trailers[0], "X-Sum: 9") {
				t.Errorf("answered %d %q, %q, whole %v", h.status, body, trailers, whole)
			}
		})
	}
}

// TestReasonOverHTTP2: an instance of HTTP/2 cannot say why serai answers either, to
// no client, in no spelling, before, in or behind its answer.
func TestReasonOverHTTP2(t *testing.T) {
	address := newInstanceHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Serai-Reason", "x_serai_reason", "x.serai-reason"} {
			w.Header()[name] = []string{"loop"}
			w.Header()[http.TrailerPrefix+name] = []string{"cut"}
		}
		w.Header().Set("X_mine", "1")
		w.WriteHeader(103)
		io.WriteString(w, "body")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "9")
	})
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{address}, "ingress.scheme=h2c")
			c := start(t, n).open(t, request{method: "GET", target: "/", fields: []string{id, "TE: trailers"}})
			var told []string
			for _, status := range []int{103, 200} {
				h := c.head()
				if h.status != status {
					t.Fatalf("answered %d, want %d", h.status, status)
				}
				for name := range h.fields {
					told = append(told, name)
				}
			}
			_, trailers, whole := c.rest()
			if all := strings.ToLower(strings.Join(append(told, trailers...), " ")); !whole || strings.Contains(all, "reason") || !strings.Contains(all, "x_mine") {
				t.Errorf("the client is told %s, whole %v", all, whole)
			}
		})
	}
}

// TestNotBegun: a request that an instance has not begun goes to another, also a
// POST; what it may have begun does not.
func TestNotBegun(t *testing.T) {
	for name, c := range map[string]struct {
		play   func(f *x.Framer, stream uint32) bool
		status int
		asked  int32 // times, over all instances
		reason string
	}{
		"refused":   {func(f *x.Framer, s uint32) bool { return f.WriteRSTStream(s, x.ErrCodeRefusedStream) == nil }, 204, 2, ""},
		"reset":     {func(f *x.Framer, s uint32) bool { return f.WriteRSTStream(s, x.ErrCodeCancel) == nil }, 502, 1, "upstream-closed"},
		"gone away": {func(f *x.Framer, s uint32) bool { f.WriteGoAway(0, x.ErrCodeNo, nil); return true }, 204, 5, ""},
		"cut":       {func(f *x.Framer, s uint32) bool { return false }, 502, 1, "upstream-closed"},
		"broken":    {func(f *x.Framer, s uint32) bool { f.WriteRawFrame(x.FrameSettings, 0, s, nil); return true }, 502, 1, "bad-answer"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			bad := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { asked.Add(1); return c.play(f, s) })
			good := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { asked.Add(1); says(f, s, "204"); return true })
			n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{bad, good}, "ingress.scheme=h2c", "ingress.lb=round-robin")
			e := listen1(t, n)
			seen := false
			for range 4 { // one of two in turn is asked first
				asked.Store(0)
				k := e.open(t, post(4, "body"))
				h := k.head()
				k.rest()
				if asked.Load() == 1 && h.status == 204 {
					continue // it went to the good one
				}
				if seen = true; h.status != c.status || asked.Load() != c.asked || h.fields.Get("X-Serai-Reason") != c.reason {
					t.Errorf("answered %d %s after %d were asked; want %d %s, %d", h.status, h.fields.Get("X-Serai-Reason"), asked.Load(), c.status, c.reason, c.asked)
				}
				break
			}
			if !seen {
				t.Error("the bad one was never asked")
			}
		})
	}
}

// TestResetIsTold: the answer says that the instance has reset the stream, and how: it may
// want HTTP/1 (HTTP_1_1_REQUIRED).
func TestResetIsTold(t *testing.T) {
	bad := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { return f.WriteRSTStream(s, x.ErrCodeHTTP11Required) == nil })
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{bad}, "ingress.scheme=h2c")
	k := listen1(t, n).open(t, post(4, "body"))
	h := k.head()
	body, _, _ := k.rest()
	if h.status != 502 || !strings.Contains(body, "the instance reset the stream: HTTP_1_1_REQUIRED (upstream-closed)") {
		t.Errorf("%d: %s", h.status, body)
	}
}

// TestNotBegunBehindAWindow: so does a request of which a part still waits for the instance's
// window: all of it is here.
func TestNotBegunBehindAWindow(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		play   func(f *x.Framer, stream uint32) bool
	}{
		"refused":   {"POST", func(f *x.Framer, s uint32) bool { return f.WriteRSTStream(s, x.ErrCodeRefusedStream) == nil }},
		"gone away": {"POST", func(f *x.Framer, s uint32) bool { f.WriteGoAway(0, x.ErrCodeNo, nil); return true }},
		"cut":       {"PUT", func(*x.Framer, uint32) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			bad := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { asked.Add(1); return c.play(f, s) }, x.Setting{ID: x.SettingInitialWindowSize, Val: 10})
			good := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { says(f, s, "204"); return true })
			n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{bad, good}, "ingress.scheme=h2c", "ingress.lb=round-robin")
			e := listen1(t, n)
			for range 4 {
				q := post(2000, strings.Repeat("x", 2000))
				q.method = c.method
				k := e.open(t, q)
				if h := k.head(); h.status != 204 {
					t.Errorf("answered %d %s", h.status, h.fields.Get("X-Serai-Reason"))
				}
				k.rest()
			}
			if asked.Load() == 0 {
				t.Error("the bad one was never asked")
			}
		})
	}
}

// TestNoHTTP2 tells the client of an instance that speaks HTTP/1 although its scheme
// says otherwise; no byte of the request has reached it.
func TestNoHTTP2(t *testing.T) {
	i := newInstance(t)
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{i.address}, "ingress.scheme=grpc", "ingress.retries=0")
	k := listen1(t, n).open(t, get())
	in := i.next()
	if _, err := in.r.Discard(len(x.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	in.send("HTTP/1.1 400 Bad Request\r\n\r\n")
	refused(t, k, 502, "no-http2")
	in.ended()
	if strings.Contains(in.seen.String(), "/a?b=c") {
		t.Errorf("the instance was sent %q", in.seen.String())
	}
}

// TestEndedBeforeSettings: an instance that is killed while a connection to it is made
// has heard nothing of the requests for it. All of them go to another, whatever their method
// and however few may be repeated.
func TestEndedBeforeSettings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var ended atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// A probe says nothing.
			if n, _ := c.Read(make([]byte, 1)); n > 0 {
				ended.Add(1)
			}
			c.Close()
		}
	}()
	good := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { says(f, s, "204"); return true })
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{l.Addr().String(), good}, "ingress.scheme=grpc", "ingress.lb=round-robin", "ingress.retries=0")
	e := listen1(t, n)
	for range 4 {
		k := e.open(t, post(4, "body"))
		if h := k.head(); h.status != 204 {
			t.Errorf("answered %d %s", h.status, h.fields.Get("X-Serai-Reason"))
		}
		k.rest()
	}
	if ended.Load() == 0 {
		t.Error("the instance that ends was never asked")
	}
}

// TestGoneAway: a request that an instance does not begin since it is about to stop goes to
// another, however few may be repeated: of many that are under way all do.
func TestGoneAway(t *testing.T) {
	var asked atomic.Int32
	leaving := newInstancePlayed(t, func(f *x.Framer, s uint32) bool {
		asked.Add(1)
		f.WriteGoAway(0, x.ErrCodeNo, nil)
		return true
	})
	good := newInstancePlayed(t, func(f *x.Framer, s uint32) bool { says(f, s, "204"); return true })
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{leaving, good}, "ingress.scheme=grpc", "ingress.lb=round-robin", "ingress.retries=0")
	e := listen1(t, n)
	for range 4 {
		k := e.open(t, post(4, "body"))
		if h := k.head(); h.status != 204 {
			t.Errorf("answered %d %s", h.status, h.fields.Get("X-Serai-Reason"))
		}
		k.rest()
	}
	if asked.Load() == 0 {
		t.Error("the instance that leaves was never asked")
	}
}

// TestNothingIsBegun: a request to an instance that begins nothing makes so many connections
// and no more.
func TestNothingIsBegun(t *testing.T) {
	var asked atomic.Int32
	leaving := newInstancePlayed(t, func(f *x.Framer, s uint32) bool {
		asked.Add(1)
		f.WriteGoAway(0, x.ErrCodeNo, nil)
		return true
	})
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{leaving}, "ingress.scheme=grpc")
	refused(t, listen1(t, n).open(t, post(4, "body")), 503, "upstream-refused")
	if got := asked.Load(); got != 12 {
		t.Errorf("it was sent over %d connections, want 12", got)
	}
}

// TestOneForEachConnection: of many requests at once to an instance that begins one on each
// connection, as nginx with keepalive_requests 1, all are answered.
func TestOneForEachConnection(t *testing.T) {
	one := newInstancePlayed(t, func(f *x.Framer, s uint32) bool {
		f.WriteGoAway(s, x.ErrCodeNo, nil)
		says(f, s, "204")
		for { // others may have been sent before they could know
			if _, err := f.ReadFrame(); err != nil {
				return false
			}
		}
	})
	n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{one}, "ingress.scheme=grpc")
	e := listen1(t, n)
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			k := e.open(t, post(4, "body"))
			if h := k.head(); h == nil || h.status != 204 {
				t.Errorf("answered %+v", h)
			}
			k.rest()
		})
	}
	all.Wait()
}

// TestWebSocketOverHTTP2 is refused in so many words where the instance takes none, and
// joined where it does.
func TestWebSocketOverHTTP2(t *testing.T) {
	ask := request{method: "GET", target: "/", upgrade: "websocket", fields: []string{id, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}}
	t.Run("not offered", func(t *testing.T) {
		address := newInstanceHTTP2(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
		n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{address}, "ingress.scheme=h2c")
		refused(t, listen1(t, n).open(t, ask), 501, "no-upgrade")
	})
	t.Run("offered", func(t *testing.T) {
		address := newInstancePlayed(t, func(f *x.Framer, s uint32) bool {
			var b bytes.Buffer
			hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			f.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: b.Bytes(), EndHeaders: true})
			for {
				in, err := f.ReadFrame()
				if err != nil {
					return false
				}
				if d, ok := in.(*x.DataFrame); ok {
					f.WriteData(s, d.StreamEnded(), d.Data())
					if d.StreamEnded() {
						return true
					}
				}
			}
		}, x.Setting{ID: x.SettingEnableConnectProtocol, Val: 1})
		n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{address}, "ingress.scheme=h2c")
		k := listen1(t, n).open(t, ask)
		if h := k.head(); h == nil || h.status != 101 || h.fields.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("answered %+v", h)
		}
		k.send("hello")
		k.read("hello")
		k.finish()
		if more, _, whole := k.rest(); more != "" || !whole {
			t.Errorf("read %q, whole %v", more, whole)
		}
	})
}

// TestGRPCStatus: the access log has what the trailers of gRPC say, or the head of an
// answer that has trailers only.
func TestGRPCStatus(t *testing.T) {
	address := newInstanceHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/trailers":
			w.Header().Set("Trailer", "Grpc-Status")
			io.WriteString(w, "message")
			w.Header().Set("Grpc-Status", "0")
		case "/only":
			w.Header().Set("Grpc-Status", "14")
		case "/odd":
			w.Header().Set("Grpc-Status", "1400")
		}
	})
	var mu sync.Mutex
	got := make(map[string]string)
	log := func(x *proxy.Exchange) {
		status, ok := x.GRPCStatus()
		mu.Lock()
		defer mu.Unlock()
		got[string(x.Head.Target)] = fmt.Sprint(status, ok)
	}
	n := newNode(t, proxy.Options{Log: log}, speaksHTTP2(), []string{address}, "ingress.scheme=grpc")
	e := listen1(t, n)
	for target, want := range map[string]string{"/trailers": "0 true", "/only": "14 true", "/odd": "-1 false", "/none": "-1 false"} {
		k := e.open(t, request{method: "POST", target: target, fields: []string{id, "TE: trailers"}})
		k.head()
		k.rest()
		until(t, "the line of "+target, func() bool { mu.Lock(); defer mu.Unlock(); return got[target] != "" })
		mu.Lock()
		if got[target] != want {
			t.Errorf("%s has %s, want %s", target, got[target], want)
		}
		mu.Unlock()
	}
	if got := n.router.Current().Routes()[0].Stats.Snapshot().GRPC; got[0] != 1 || got[14] != 1 {
		t.Errorf("the route has counted %v", got)
	}
}
