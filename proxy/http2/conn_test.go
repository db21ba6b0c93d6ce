package http2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/memory"
	engine "serai/proxy/http2"
)

// TestHeads: what is refused over HTTP/1 is refused over HTTP/2, with the same reason,
// and what HTTP/2 alone refuses with a reason of its own. No instance hears of it.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		name, want string
		fields     []string
		path       string
	}{
		{name: "good", want: "200", path: "/"},
		{name: "Host agrees", want: "200", path: "/", fields: []string{"host", "a.test"}},
		{name: "Host differs", want: "400", path: "/", fields: []string{"host", "b.test"}},
		{name: "upper case", want: "400", path: "/", fields: []string{"X-Up", "1"}},
		{name: "connection", want: "400", path: "/", fields: []string{"connection", "close"}},
		{name: "keep-alive", want: "400", path: "/", fields: []string{"keep-alive", "1"}},
		{name: "transfer-encoding", want: "400", path: "/", fields: []string{"transfer-encoding", "chunked"}},
		{name: "upgrade", want: "400", path: "/", fields: []string{"upgrade", "h2c"}},
		{name: "te", want: "400", path: "/", fields: []string{"te", "gzip"}},
		{name: "te: trailers", want: "200", path: "/", fields: []string{"te", "trailers"}},
		{name: "LF in a value", want: "400", path: "/", fields: []string{"x", "a\nb"}},
		{name: "CR in a value", want: "400", path: "/", fields: []string{"x", "a\rb"}},
		{name: "NUL in a value", want: "400", path: "/", fields: []string{"x", "a\x00b"}},
		{name: "blank before", want: "400", path: "/", fields: []string{"x", " a"}},
		{name: "blank behind", want: "400", path: "/", fields: []string{"x", "a "}},
		{name: "colon in a name", want: "400", path: "/", fields: []string{"a:b", "1"}},
		{name: "pseudo behind", want: "400", path: "/", fields: []string{"x", "1", ":scheme", "http"}},
		{name: "unknown pseudo", want: "400", path: "/", fields: []string{":x", "1"}},
		{name: "status", want: "400", path: "/", fields: []string{":status", "200"}},
		{name: "userinfo", want: "400", path: "/", fields: []string{"host", "me@a.test"}},
		{name: "no path", want: "400", path: ""},
		{name: "relative path", want: "400", path: "a"},
		{name: "absolute form", want: "400", path: "http://a.test/"},
		{name: "a blank in the path", want: "400", path: "/a b"},
		{name: "a fragment", want: "400", path: "/a#b"},
		{name: "path with escapes", want: "200", path: "/a%2Fb?x=%00"},
		{name: "length without a body", want: "400", path: "/", fields: []string{"content-length", "5"}},
		{name: "length twice", want: "400", path: "/", fields: []string{"content-length", "0", "content-length", "0"}},
		{name: "length with a sign", want: "400", path: "/", fields: []string{"content-length", "+0"}},
		{name: "expectation", want: "417", path: "/", fields: []string{"expect", "x"}},
		{name: "long target", want: "414", path: "/" + strings.Repeat("x", 16<<10)},
		{name: "large head", want: "431", path: "/", fields: []string{"x", strings.Repeat("x", 40000), "y", strings.Repeat("x", 40000)}},
		{name: "many fields", want: "431", path: "/", fields: strings.Split(strings.Repeat("x,1,", 130)+"x,1", ",")},
		{name: "many cookies", want: "200", path: "/", fields: strings.Split(strings.Repeat("cookie,a=1,", 150)+"cookie,b=2", ",")},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := make(chan *http.Request, 1)
			k := newStack(t, engine.Options{}, func(_ http.ResponseWriter, r *http.Request) { asked <- r })
			p := k.dial()
			p.open(1, p.fields(c.path, c.fields...))
			status, body, _, whole := p.answer(1)
			if status != c.want || !whole {
				t.Errorf("answered %s %q, whole %v; want %s", status, body, whole, c.want)
			}
			if reached := len(asked) > 0; reached != (c.want == "200") {
				t.Errorf("the instance was asked: %v", reached)
			} else if reached {
				r := <-asked
				if r.RequestURI != c.path {
					t.Errorf("the instance sees %q", r.RequestURI)
				}
				if got := r.Header["Cookie"]; c.name == "many cookies" && (len(got) != 1 || strings.Count(got[0], "; ") != 150) {
					t.Errorf("the instance sees cookies %q", got)
				}
			}
			p.get(3, "/") // the table is the same on both sides
			if status, _, _, whole := p.answer(3); status != "200" || !whole {
				t.Errorf("the next request is answered %s", status)
			}
		})
	}
}

// TestLargeBodies: bodies of several windows go through both ways, on several streams.
func TestLargeBodies(t *testing.T) {
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	done := make(chan error)
	for i := range 8 {
		go func() {
			sent := bytes.Repeat([]byte{byte(i), 1, 2, 3, 4, 5, 6}, 200000+i*1000)
			r, err := http.NewRequest("POST", "http://"+k.address+"/", bytes.NewReader(sent))
			if err != nil {
				done <- err
				return
			}
			if r.Host = "a.test"; i%2 == 0 {
				r.ContentLength = -1
			}
			res, err := client.Do(r)
			if err != nil {
				done <- err
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err == nil && !bytes.Equal(got, sent) {
				err = fmt.Errorf("stream %d: %d bytes came back of %d", i, len(got), len(sent))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestGRPCRefusals: a client of gRPC reads why it is refused from trailers alone.
func TestGRPCRefusals(t *testing.T) {
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	p := k.dial()
	p.post(1, "/", "content-type", "application/grpc", "te", "trailers", "grpc-timeout", "50m")
	p.f.WriteData(1, true, make([]byte, 5))
	if got, _, _, whole := p.answer(1); !whole || !strings.HasPrefix(got, "200 grpc-status=4 grpc-message=") {
		t.Errorf("answered %q, whole %v", got, whole)
	}
}

// TestGRPCHeads: so does one whose head is refused, as far as it could be read, and the
// connection goes on.
func TestGRPCHeads(t *testing.T) {
	k := newStack(t, engine.Options{}, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"LF in a value": {[]string{"x", "a\nb"}, "13"}, "Host differs": {[]string{"host", "b.test"}, "13"}, "connection": {[]string{"connection", "close"}, "13"},
		"large head":  {[]string{"x", strings.Repeat("x", 40000), "y", strings.Repeat("x", 40000)}, "8"},
		"many fields": {strings.Split(strings.Repeat("x,1,", 130)+"x,1", ","), "8"},
	} {
		t.Run(name, func(t *testing.T) {
			p := k.dial()
			p.open(1, p.fields("/", append([]string{"content-type", "application/grpc"}, c.fields...)...))
			if got, body, _, whole := p.answer(1); !whole || body != "" || !strings.HasPrefix(got, "200 grpc-status="+c.want+" grpc-message=") {
				t.Errorf("answered %q %q, whole %v; want status %s", got, body, whole, c.want)
			}
			p.get(3, "/")
			if status, _, _, whole := p.answer(3); status != "200" || !whole {
				t.Errorf("the next request is answered %s", status)
			}
		})
	}
}

// TestGRPCRefusalsAreNotKept: they are 200 to a cache, also those to a GET, which it could
// take for the page of others.
func TestGRPCRefusalsAreNotKept(t *testing.T) {
	k := newStack(t, engine.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("an instance was asked") })
	for name, fields := range map[string][]string{
		"a loop": {"x-serai-hops", "1000"},
		"a head": {"connection", "close"},
	} {
		t.Run(name, func(t *testing.T) {
			p := k.dial()
			p.open(1, p.fields("/", append([]string{"content-type", "application/grpc"}, fields...)...))
			for {
				f, err := p.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				head, ok := f.(*http2.MetaHeadersFrame)
				if !ok {
					continue
				}
				kept := ""
				for _, f := range head.RegularFields() {
					if f.Name == "cache-control" {
						kept += f.Value
					}
				}
				if kept != "no-store" || head.PseudoValue("status") != "200" {
					t.Errorf("a cache may keep %v", head.Fields)
				}
				return
			}
		})
	}
}

// TestGRPCCut: a client of gRPC whose answer is cut is told that it may try again, but
// not when that is since its time is over.
func TestGRPCCut(t *testing.T) {
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("begin") != "" {
			w.Write(make([]byte, 5))
			http.NewResponseController(w).Flush()
		}
		time.Sleep(20 * time.Millisecond)
		panic(http.ErrAbortHandler)
	})
	p, id := k.dial(), uint32(1)
	for _, begin := range []string{"", "1"} {
		for timeout, want := range map[string]string{"10S": "14", "10m": "4"} {
			p.post(id, "/", "content-type", "application/grpc", "te", "trailers", "grpc-timeout", timeout, "begin", begin)
			p.f.WriteData(id, true, make([]byte, 5))
			if got, _, _, whole := p.answer(id); !whole || !strings.HasPrefix(got, "200 grpc-status="+want+" grpc-message=") {
				t.Errorf("begun %q, within %s: answered %q, whole %v; want status %s", begin, timeout, got, whole, want)
			}
			id += 2
		}
	}
}

// TestDrain: a client is told to open no more streams, those that it has are answered,
// and then the connection ends.
func TestDrain(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-goOn
		io.WriteString(w, "whole")
	})
	p := k.dial()
	p.get(1, "/")
	<-begun
	drained := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		drained <- k.server.Shutdown(ctx)
	}()
	var last []uint32
	for {
		f, err := p.f.ReadFrame()
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.PingFrame:
			if !f.IsAck() {
				p.get(3, "/") // on its way while the client learns of the drain
				<-begun
				p.f.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			if last = append(last, f.LastStreamID); len(last) == 2 {
				close(goOn)
			}
		}
	}
	if want := []uint32{1<<31 - 1, 3}; fmt.Sprint(last) != fmt.Sprint(want) {
		t.Errorf("the last streams are %d, want %d", last, want)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestStreamsBeyondTheLimit are refused unprocessed, one by one.
func TestStreamsBeyondTheLimit(t *testing.T) {
	k := newStack(t, engine.Options{MaxStreams: 2}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := k.dial()
	p.get(1, "/")
	p.get(3, "/")
	p.get(5, "/")
	if _, _, code, _ := p.answer(5); code != http2.ErrCodeRefusedStream {
		t.Errorf("it ends with %v", code)
	}
	p.c.Close()
	until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 })
}

// TestClientThatTakesNothing: neither a stream's window nor the connection's is waited
// for beyond the time to write, and meanwhile no more is kept than what fits.
func TestClientThatTakesNothing(t *testing.T) {
	large := func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) }
	t.Run("one stream", func(t *testing.T) {
		k := newStack(t, engine.Options{WriteIdle: 100 * time.Millisecond}, large)
		p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.get(1, "/")
		if _, _, code, _ := p.answer(1); code != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("it ends with %v", code)
		}
		p.f.WritePing(false, [8]byte{})
		for {
			if f, err := p.f.ReadFrame(); err != nil {
				t.Fatalf("the connection ends: %v", err)
			} else if f.Header().Type == http2.FramePing {
				break
			}
		}
	})
	t.Run("the connection", func(t *testing.T) {
		k := newStack(t, engine.Options{WriteIdle: 100 * time.Millisecond}, large)
		p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.get(1, "/")
		if code, _ := p.goAway(); code != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("it ends with %v", code)
		}
		until(t, "the counter", func() bool { return k.engine.Status().Ended["slow"] == 1 })
	})
	t.Run("the socket", func(t *testing.T) {
		budget := memory.NewBudget(64 << 20)
		k := newStackWithin(t, budget, engine.Options{WriteIdle: 100 * time.Millisecond}, large)
		p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.f.WriteWindowUpdate(0, 1<<30)
		p.get(1, "/")
		until(t, "the end of the stream", func() bool { return k.engine.Status().Ended["slow"] == 1 && k.engine.Status().Streams == 0 })
		until(t, "all memory to be given back", func() bool {
			for _, part := range memory.Parts() {
				if n, _ := budget.Taken(part); n != 0 {
					return false
				}
			}
			return true
		})
	})
}

// TestClientThatSendsNothing has as long as over HTTP/1.
func TestClientThatSendsNothing(t *testing.T) {
	k := newStack(t, engine.Options{BodyIdle: 100 * time.Millisecond, HeadTimeout: 100 * time.Millisecond, KeepAlive: 100 * time.Millisecond},
		func(http.ResponseWriter, *http.Request) {})
	p := k.dial()
	p.post(1, "/", "content-length", "5")
	if status, body, _, _ := p.answer(1); status != "408" {
		t.Errorf("a body that does not come is answered %s %q", status, body)
	}
	for { // the connection is idle now
		if _, err := p.f.ReadFrame(); err != nil {
			break
		}
	}
	p = k.dial()
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields("/")})
	if code, _ := p.goAway(); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("half a head ends with %v", code)
	}
	until(t, "the counter", func() bool { return k.engine.Status().Ended["head"] == 1 })
}

// TestClientThatLeaves: who closes the connection while it is sent something was not slow.
func TestClientThatLeaves(t *testing.T) {
	left := make(chan struct{})
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(b); err != nil {
				break
			}
		}
		close(left)
	})
	p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.f.WriteWindowUpdate(0, 1<<30)
	p.get(1, "/")
	for range 10 {
		if _, err := p.f.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}
	p.c.Close()
	<-left
	until(t, "the end of the stream", func() bool { return k.engine.Status().Streams == 0 })
	if n := k.engine.Status().Ended["slow"]; n != 0 {
		t.Errorf("%d connections count as slow", n)
	}
}
