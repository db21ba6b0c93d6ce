package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestWholeAnswerBeforeItsRequest: an instance answers, trailers included, while the request goes on,
// and ends the stream in one way or another: the answer counts (Envoy 38206, h2 633, Go 80085).
func TestWholeAnswerBeforeItsRequest(t *testing.T) {
	for name, end := range map[string]func(p *played2, s uint32){
		"nothing":        func(*played2, uint32) {},
		"NO_ERROR":       func(p *played2, s uint32) { p.WriteRSTStream(s, http2.ErrCodeNo) },
		"CANCEL":         func(p *played2, s uint32) { p.WriteRSTStream(s, http2.ErrCodeCancel) },
		"INTERNAL_ERROR": func(p *played2, s uint32) { p.WriteRSTStream(s, http2.ErrCodeInternal) },
		"REFUSED_STREAM": func(p *played2, s uint32) { p.WriteRSTStream(s, http2.ErrCodeRefusedStream) },
		"GOAWAY": func(p *played2, s uint32) {
			p.WriteGoAway(s, http2.ErrCodeNo, nil)
			p.WriteRSTStream(s, http2.ErrCodeNo)
		},
	} {
		clients := serving2(t, playInstance2(t, func(p *played2, f http2.Frame) {
			if h, ok := f.(*http2.HeadersFrame); ok && h.StreamID == p.last && h.HeadersEnded() {
				p.head(h.StreamID, false, ":status", "200", "trailer", "x-sum")
				p.data(h.StreamID, false, "ok")
				p.head(h.StreamID, true, "x-sum", "1")
				end(p, h.StreamID)
			}
		}), "ingress.scheme=h2c")
		for front, h := range clients {
			t.Run(name+" over "+front, func(t *testing.T) {
				body, more := io.Pipe()
				defer more.Close()
				go more.Write([]byte("some"))
				if got := answered2(h, request2(t, "POST", body, "TE", "trailers")); got != "200 ok x-sum=1" {
					t.Errorf("answered %q", got)
				}
			})
		}
	}
}

// TestLateEnd: an answer whose end comes in a frame of its own, later, is not reset (Go 41570).
func TestLateEnd(t *testing.T) {
	var mu sync.Mutex
	var resets []http2.ErrCode
	clients := serving2(t, playInstance2(t, func(p *played2, f http2.Frame) {
		if h, ok := f.(*http2.HeadersFrame); ok {
			p.head(h.StreamID, false, ":status", "200", "content-length", "2")
			p.data(h.StreamID, false, "ok")
			p.WritePing(false, [8]byte{1, byte(h.StreamID)})
		}
		if g, ok := f.(*http2.PingFrame); ok && g.IsAck() { // serai has seen what came before
			p.data(uint32(g.Data[1]), true, "")
			mu.Lock()
			resets = append(resets, p.resets...)
			mu.Unlock()
		}
	}), "ingress.scheme=h2c")
	for front, h := range clients {
		for range 10 {
			if got := answered2(h, request2(t, "GET", nil)); got != "200 ok" {
				t.Errorf("over %s it is answered %q", front, got)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(resets) > 0 {
		t.Errorf("serai has sent %v", resets)
	}
}

// TestCutAnswersGiveTheirWindowBack: what came of answers that are cut, or behind serai's reset,
// takes nothing of the connection's window for ever (Envoy 40085).
func TestCutAnswersGiveTheirWindowBack(t *testing.T) {
	least := make(chan int, 1000)
	h := serving2(t, playInstance2(t, func(p *played2, f http2.Frame) {
		if h, ok := f.(*http2.HeadersFrame); ok {
			least <- p.window
			p.head(h.StreamID, false, ":status", "200")
			p.data(h.StreamID, false, strings.Repeat("x", 8000))
			p.WriteRSTStream(h.StreamID, http2.ErrCodeInternal)
		}
	}), "ingress.scheme=h2c")["HTTP/2"]
	for i := range 400 {
		if got := answered2(h, request2(t, "GET", nil)); !strings.HasSuffix(got, " cut") && !strings.Contains(got, "INTERNAL_ERROR") {
			t.Fatalf("answered %.50q", got)
		}
		if window := <-least; window < 8000 {
			t.Fatalf("%d bytes of the window are left after %d", window, i)
		}
	}
}

// TestCancelledDownloads: clients that leave in the middle of answers take nothing from others, on
// both sides (HAProxy 3039).
func TestCancelledDownloads(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 3<<20)) })}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	for front, h := range serving2(t, l.Addr().String(), "ingress.scheme=h2c") {
		for i := range 60 {
			ctx, cancel := context.WithCancel(within(t))
			r := request2(t, "GET", nil).WithContext(ctx)
			if i%3 == 0 { // also before anything has come
				time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
			}
			if res, err := h.Do(r); err == nil {
				io.CopyN(io.Discard, res.Body, int64(i)*20_000)
				cancel()
				res.Body.Close()
			}
			cancel()
		}
		if got := answered2(h, request2(t, "GET", nil)); len(got) != len("200 ")+3<<20 {
			t.Errorf("over %s the last one has %d bytes", front, len(got))
		}
	}
}

// TestStreamsOfAnInstanceThatAllowsOne at once, and says so late (h2 833), which gives windows
// by settings alone (hyper 190): all requests are answered, one after the other.
func TestStreamsOfAnInstanceThatAllowsOne(t *testing.T) {
	const window = http2.SettingInitialWindowSize
	var mu sync.Mutex
	open := make(map[*played2]int)
	clients := serving2(t, playInstance2(t, func(p *played2, f http2.Frame) {
		mu.Lock()
		defer mu.Unlock()
		end := false
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if open[p]++; open[p] > 1 && p.last > 1 {
				t.Errorf("%d streams are open", open[p])
			}
			p.WriteSettings(http2.Setting{ID: window, Val: 1 << 20})
			end = f.StreamEnded()
		case *http2.DataFrame:
			if end = f.StreamEnded(); len(f.Data()) > 0 {
				p.WriteWindowUpdate(0, uint32(len(f.Data())))
			}
		}
		if end {
			open[p]--
			p.head(f.Header().StreamID, true, ":status", "204")
		}
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: window, Val: 0}), "ingress.scheme=h2c")
	for front, h := range clients {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got := answered2(h, request2(t, "POST", bytes.NewReader(make([]byte, 60_000)))); got != "204 " {
					t.Errorf("over %s it is answered %q", front, got)
				}
			})
		}
		all.Wait()
	}
}

// TestContinueOnce: a 100 of the instance comes once, and a refusal in its place ends the wait
// (Caddy 5280, HAProxy 1321).
func TestContinueOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Refused") != "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	for _, scheme := range []string{"http", "h2c"} {
		for front, h := range serving2(t, l.Addr().String(), "ingress.scheme="+scheme) {
			h.Transport.(*http.Transport).ExpectContinueTimeout = long
			for refused, want := range map[string]string{"": "200 100000", "yes": "417 "} {
				interims := 0
				ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
					interims += code
					return nil
				}})
				r := request2(t, "PUT", bytes.NewReader(make([]byte, 100_000)), "Expect", "100-continue", "Refused", refused).WithContext(ctx)
				if got := answered2(h, r); got != want || refused == "" && interims != 100 || refused != "" && interims != 0 {
					t.Errorf("over %s to %s, refused %q: %q, interims %d", front, scheme, refused, got, interims)
				}
			}
		}
	}
}
