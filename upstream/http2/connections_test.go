package http2_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	x "golang.org/x/net/http2"

	"serai/internal/memory"
	"serai/upstream"
	"serai/upstream/http2"
)

// TestManyStreams: requests share connections, as many as the instance and the
// option allow on each, and a crowd makes no more connections than it needs.
func TestManyStreams(t *testing.T) {
	for name, c := range map[string]struct {
		allowed, option, requests, want int
	}{
		"one connection": {1000, 100, 100, 1},
		"the option":     {1000, 10, 40, 4},
		"the instance":   {10, 100, 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var conns, now atomic.Int32
			release := make(chan struct{})
			e := playingWith(t, http2.Options{Streams: c.option}, upstream.RegistryOptions{}, func(p *peer) {
				conns.Add(1)
				p.WriteSettings(x.Setting{ID: x.SettingMaxConcurrentStreams, Val: uint32(c.allowed)})
				var all []uint32
				for {
					s := p.request()
					if s == 0 {
						return
					}
					if all = append(all, s); len(all) > c.allowed || len(all) > c.option {
						p.t.Errorf("%d streams on one connection", len(all))
					}
					if int(now.Add(1)) == c.requests {
						close(release)
					}
					if len(all) == min(c.requests/c.want, c.allowed, c.option) {
						break
					}
				}
				<-release
				for _, s := range all {
					p.answer(s, true, ":status", "204")
				}
				p.drain()
			})
			var all sync.WaitGroup
			for range c.requests {
				all.Go(func() {
					var a upstream.Answer
					if f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a); f != nil {
						t.Errorf("failed: %v", f)
						return
					}
					a.Stream.End(true)
				})
			}
			all.Wait()
			if n := int(conns.Load()); n != c.want {
				t.Errorf("%d connections, want %d", n, c.want)
			}
		})
	}
}

// TestFewStreams: an instance that allows one or none, which it says only once the
// crowd waits, gets no more than that; all are answered where it can.
func TestFewStreams(t *testing.T) {
	for _, allowed := range []int{1, 3} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings(x.Setting{ID: x.SettingMaxConcurrentStreams, Val: uint32(allowed)})
				for {
					s := p.request()
					if s == 0 {
						return
					}
					p.answer(s, true, ":status", "204")
				}
			})
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() {
					for range 10 {
						var a upstream.Answer
						if f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &a); f != nil {
							t.Errorf("failed: %+v", f)
							return
						}
						a.Stream.End(true)
					}
				})
			}
			all.Wait()
		})
	}
}

// TestGoAway: what the instance has not begun goes to another connection, also a
// POST; what it has begun is answered on the old one.
func TestGoAway(t *testing.T) {
	begun := make(chan uint32, 1)
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		if p.nth > 0 {
			for s := p.request(); s != 0; s = p.request() {
				p.answer(s, true, ":status", "202")
			}
			return
		}
		first := p.request()
		begun <- first
		p.request()
		p.WriteGoAway(first, x.ErrCodeNo, nil)
		p.answer(first, true, ":status", "201")
		p.drain()
	})
	done := make(chan int, 1)
	go func() {
		var a upstream.Answer
		if f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &a); f != nil {
			t.Errorf("the first failed: %v", f)
			done <- 0
			return
		}
		done <- a.Head.Status
		a.Stream.End(true)
	}()
	<-begun
	if got := roundTrip(t, e, request(&asking{}, "POST", "/")); got.head.Status != 202 {
		t.Errorf("the second is answered %d", got.head.Status)
	}
	if status := <-done; status != 201 {
		t.Errorf("the first is answered %d", status)
	}
}

// TestGoAwayAlways: an instance that never begins anything is left after some
// connections.
func TestGoAwayAlways(t *testing.T) {
	var conns atomic.Int32
	e := playing(t, func(p *peer) {
		conns.Add(1)
		p.WriteSettings()
		p.request()
		p.WriteGoAway(0, x.ErrCodeNo, nil)
		p.drain()
	})
	f := fails(t, e)
	if f.Kind != upstream.FailedRefused || f.Processing != upstream.NotSent || conns.Load() != 4 {
		t.Errorf("failed with %+v after %d connections", f, conns.Load())
	}
}

// TestGoAwayWithSettings: a connection that an instance ends as soon as it has begun was
// HTTP/2 all the same, and nothing of the request was processed. Further attempts make one
// connection each, so that one request costs few.
func TestGoAwayWithSettings(t *testing.T) {
	first := x.Setting{ID: x.SettingMaxConcurrentStreams, Val: 0}
	// A close with something unread would be a reset, which may overtake what was sent.
	ends := func(p *peer) { p.Conn.(*net.TCPConn).CloseWrite(); p.drain() }
	for name, play := range map[string]func(p *peer){
		"refuses all":             func(p *peer) { p.WriteSettings(); p.WriteGoAway(0, x.ErrCodeNo, nil); p.drain() },
		"closes":                  func(p *peer) { p.WriteSettings(); p.WriteGoAway(0, x.ErrCodeNo, nil); ends(p) },
		"allows no streams":       func(p *peer) { p.WriteSettings(first); p.WriteGoAway(0, x.ErrCodeNo, nil); p.drain() },
		"allows none, and closes": func(p *peer) { p.WriteSettings(first); p.WriteGoAway(0, x.ErrCodeNo, nil); ends(p) },
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			e := playing(t, func(p *peer) { conns.Add(1); play(p) })
			for _, c := range []struct {
				fresh bool
				conns int32
			}{{false, 4}, {true, 1}} {
				conns.Store(0)
				r := request(&asking{}, "POST", "/")
				r.Fresh = c.fresh
				f := e.Transport().RoundTrip(r, &upstream.Answer{})
				if f == nil || f.Kind != upstream.FailedRefused || f.Processing != upstream.NotSent || conns.Load() != c.conns {
					t.Errorf("fresh %t: failed with %+v after %d connections, want %d", c.fresh, f, conns.Load(), c.conns)
				}
			}
		})
	}
}

// TestLeaving: an endpoint that leaves closes what is idle, and what is under way when
// it has ended.
func TestLeaving(t *testing.T) {
	ended, asked, answer := make(chan struct{}), make(chan struct{}), make(chan struct{})
	e, release := leavable(t, func(p *peer) {
		p.WriteSettings()
		s := p.request()
		close(asked)
		<-answer
		p.answer(s, false, ":status", "200")
		p.WriteData(s, true, []byte("whole"))
		p.drain()
		close(ended)
	})
	done := make(chan answerOf, 1)
	go func() {
		var a upstream.Answer
		f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a)
		if f != nil {
			done <- answerOf{err: f}
			return
		}
		got := readAll(&a)
		done <- answerOf{got.body, got.err}
	}()
	<-asked
	release()
	close(answer)
	if got := <-done; got.body != "whole" || got.err != nil {
		t.Errorf("read %q, %v", got.body, got.err)
	}
	<-ended
}

type answerOf struct {
	body string
	err  error
}

// leavable is playing, with the endpoint's release for the test to call.
func leavable(t *testing.T, play func(p *peer)) (*upstream.Endpoint, func()) {
	e := playing(t, play)
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: http2.New(http2.Options{})})
	other := r.Acquire(e.Target())
	return other, func() { r.Release(other) }
}

// TestManyResets: clients that leave cost others no connection. Beyond some that were
// reset it takes no new stream.
func TestManyResets(t *testing.T) {
	var conns atomic.Int32
	e := playing(t, func(p *peer) {
		conns.Add(1)
		p.WriteSettings()
		for s := p.request(); s != 0; s = p.request() {
			p.answer(s, false, ":status", "200")
		}
	})
	for range 450 {
		var a upstream.Answer
		if f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a); f != nil {
			t.Fatal(f)
		}
		a.Stream.End(false)
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("450 resets went over %d connections", n)
	}
}

// TestMemory: what large answers take of the budget is given back, and where there is
// none they come through a small window.
func TestMemory(t *testing.T) {
	for name, limit := range map[string]int64{"enough": 64 << 20, "none": 1} {
		t.Run(name, func(t *testing.T) {
			budget := memory.NewBudget(limit)
			address := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1<<20)) })
			e := endpoint(t, upstream.Target{Address: address, Scheme: upstream.H2C}, upstream.RegistryOptions{Transport: http2.New(http2.Options{})})
			var client memory.Client
			client.Join(budget)
			for range 3 {
				r := request(&asking{}, "GET", "/")
				r.Memory = &client
				if got := roundTrip(t, e, r); len(got.body) != 1<<20 || got.err != nil {
					t.Errorf("read %d bytes, %v", len(got.body), got.err)
				}
			}
			e.Transport().CloseIdle(time.Now().Add(time.Hour), 9)
			until(t, "all memory back", func() bool { n, _ := budget.Taken(memory.Buffers); return n == 0 })
		})
	}
}

// secure has h answer over TLS, with these protocols on offer.
func secure(t *testing.T, protocols []string, h http.HandlerFunc) (address string, roots *x509.CertPool) {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{NextProtos: protocols}
	s.EnableHTTP2 = len(protocols) > 0 && protocols[0] == "h2"
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.Listener.Addr().String(), roots
}

// TestTLS: h2 is agreed on in the handshake, and a connection that was opened for one
// name carries no request for another.
func TestTLS(t *testing.T) {
	var mu sync.Mutex
	names := make(map[string]string) // of connections
	address, roots := secure(t, []string{"h2"}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if was, known := names[r.RemoteAddr]; known && was != r.TLS.ServerName {
			t.Error("one connection has two names")
		}
		names[r.RemoteAddr] = r.TLS.ServerName
		fmt.Fprint(w, r.Proto, " ", r.Host, " ", r.TLS.ServerName)
	})
	e := endpoint(t, upstream.Target{Address: address, Scheme: upstream.H2}, upstream.RegistryOptions{Transport: http2.New(http2.Options{}), Roots: roots})
	for range 2 {
		for _, host := range []string{"example.com", "www.example.com:8443", "EXAMPLE.com"} {
			r := request(&asking{}, "GET", "/")
			r.Host, r.Head.Authority = []byte(host), []byte(host)
			want := "HTTP/2.0 " + host + " " + strings.ToLower(upstream.Hostname(host))
			if got := roundTrip(t, e, r); got.body != want {
				t.Errorf("answered %q, want %q", got.body, want)
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("%d connections for two names", len(names))
	}
}

// TestNoALPN: a handshake that does not choose h2 is a failure that says so.
func TestNoALPN(t *testing.T) {
	for name, protocols := range map[string][]string{"none": nil, "another": {"http/1.1"}} {
		t.Run(name, func(t *testing.T) {
			address, roots := secure(t, protocols, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
			e := endpoint(t, upstream.Target{Address: address, Scheme: upstream.GRPCS}, upstream.RegistryOptions{Transport: http2.New(http2.Options{}), Roots: roots})
			r := request(&asking{}, "POST", "/")
			r.Host = []byte("example.com")
			f := e.Transport().RoundTrip(r, &upstream.Answer{})
			if f == nil || f.Kind != upstream.FailedProtocol || f.Processing != upstream.Refused || !strings.Contains(f.Error(), "ALPN h2") {
				t.Errorf("failed with %+v", f)
			}
			if s := e.Status(); !strings.Contains(s.Problem, "ALPN") {
				t.Errorf("the endpoint's problem is %q", s.Problem)
			}
		})
	}
}

// TestProxyProtocol: a connection that says who the client is carries only that one's
// requests, and is not kept.
func TestProxyProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(told{l}) }()
	t.Cleanup(func() { s.Close(); <-done })
	e := endpoint(t, upstream.Target{Address: l.Addr().String(), Scheme: upstream.H2C, ProxyProtocol: 1}, upstream.RegistryOptions{Transport: http2.New(http2.Options{})})
	for _, client := range []string{"192.0.2.1:1111", "192.0.2.2:2222", "192.0.2.1:1111"} {
		r := request(&asking{}, "GET", "/")
		r.Client = netip.MustParseAddrPort(client)
		if got := roundTrip(t, e, r); got.body != client {
			t.Errorf("%s is taken for %s", client, got.body)
		}
		if n := e.Transport().Status().Idle; n != 0 {
			t.Errorf("%d connections are kept", n)
		}
	}
}

// told is a listener whose connections have the address that the PROXY protocol tells.
type told struct{ net.Listener }

func (l told) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	line, _ := r.ReadString('\n')
	words := strings.Fields(line)
	if len(words) != 6 {
		return c, nil
	}
	return &toldConn{Conn: c, r: r, from: netip.MustParseAddrPort(words[2] + ":" + words[4])}, nil
}

type toldConn struct {
	net.Conn
	r    *bufio.Reader
	from netip.AddrPort
}

func (c *toldConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *toldConn) RemoteAddr() net.Addr       { return net.TCPAddrFromAddrPort(c.from) }

// TestSilence: an instance that is silent with a request under way is asked whether it
// is there, once; while it does not answer, new requests go over another connection.
func TestSilence(t *testing.T) {
	var pings atomic.Int32
	asked, first := make(chan struct{}), make(chan struct{})
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		s := p.request()
		if p.nth > 0 {
			p.answer(s, true, ":status", "204")
			p.drain()
			return
		}
		close(first)
		p.await(func(f x.Frame) bool {
			if f.Header().Type == x.FramePing && pings.Add(1) == 1 {
				close(asked)
			}
			return false
		})
	})
	caller := &asking{held: make(chan upstream.Stream, 1)}
	done := make(chan *upstream.Failure, 1)
	go func() { done <- e.Transport().RoundTrip(request(caller, "GET", "/"), &upstream.Answer{}) }()
	<-first
	later := time.Now()
	for range 10 {
		later = later.Add(5 * time.Second)
		e.Transport().Sweep(later)
	}
	<-asked
	if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.head.Status != 204 {
		t.Errorf("another request is answered %d", got.head.Status)
	}
	(<-caller.held).Interrupt()
	<-done
	if n := pings.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// TestWebSocket: an upgrade becomes an extended CONNECT where the instance takes one,
// and bytes go both ways.
func TestWebSocket(t *testing.T) {
	upgrade := func() *upstream.Request {
		r := request(&asking{}, "GET", "/chat?room=1")
		r.Head.Upgrade = []byte("foo/2, WebSocket")
		r.Head.Fields = append(r.Head.Fields, field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), field("Sec-WebSocket-Version", "13"))
		return r
	}
	t.Run("not offered", func(t *testing.T) {
		e := playing(t, func(p *peer) { p.WriteSettings(); p.drain() })
		f := e.Transport().RoundTrip(upgrade(), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedUpgrade || f.Processing != upstream.NotSent || !strings.Contains(f.Error(), "RFC 8441") {
			t.Errorf("failed with %+v", f)
		}
	})
	t.Run("refused", func(t *testing.T) {
		e := playing(t, func(p *peer) {
			p.WriteSettings(x.Setting{ID: x.SettingEnableConnectProtocol, Val: 1})
			p.answer(p.request(), true, ":status", "403")
			p.drain()
		})
		if got := roundTrip(t, e, upgrade()); got.head.Status != 403 {
			t.Errorf("answered %d", got.head.Status)
		}
	})
	t.Run("offered", func(t *testing.T) {
		seen := make(chan string, 1)
		e := playing(t, func(p *peer) {
			p.WriteSettings(x.Setting{ID: x.SettingEnableConnectProtocol, Val: 1})
			p.ReadMetaHeaders = newDecoder()
			h := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameHeaders }).(*x.MetaHeadersFrame)
			seen <- fmt.Sprint(h.PseudoFields(), h.RegularFields(), h.StreamEnded())
			p.answer(h.StreamID, false, ":status", "200", "sec-websocket-protocol", "chat")
			p.WriteData(h.StreamID, false, []byte("hello"))
			for all := 0; ; {
				f := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameData })
				if f == nil {
					return
				}
				d := f.(*x.DataFrame)
				n := len(d.Data())
				if all += n; d.StreamEnded() {
					p.WriteData(h.StreamID, true, fmt.Appendf(nil, ", %d bytes", all))
					p.drain()
					return
				}
				p.WriteWindowUpdate(0, uint32(n))
				p.WriteWindowUpdate(h.StreamID, uint32(n))
			}
		})
		var a upstream.Answer
		if f := e.Transport().RoundTrip(upgrade(), &a); f != nil {
			t.Fatal(f)
		}
		if got := <-seen; !strings.Contains(got, `":protocol" = "websocket"`) || !strings.Contains(got, `":method" = "CONNECT"`) ||
			!strings.Contains(got, `":path" = "/chat?room=1"`) || strings.Contains(got, "websocket-key") || !strings.Contains(got, "false") {
			t.Errorf("the instance saw %s", got)
		}
		var accept string
		for _, f := range a.Head.Fields {
			accept += string(f.Name) + ": " + string(f.Value) + "\n"
		}
		// The example of RFC 6455 section 1.3.
		if a.Head.Status != 101 || accept != "sec-websocket-protocol: chat\nUpgrade: websocket\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n" {
			t.Errorf("answered %d with %s", a.Head.Status, accept)
		}
		d, f := a.Stream.(upstream.Tunneler).Tunnel()
		if f != nil {
			t.Fatal(f)
		}
		written := make(chan error, 2)
		go func() {
			_, err := io.WriteString(d, strings.Repeat("message ", 50_000))
			written <- err
			written <- d.CloseWrite()
		}()
		got, err := io.ReadAll(d)
		if string(got) != "hello, 400000 bytes" || err != nil || <-written != nil || <-written != nil {
			t.Errorf("read %q, %v", got, err)
		}
		a.Stream.End(false)
	})
}
