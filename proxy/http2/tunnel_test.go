package http2_test

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// connect opens a WebSocket (RFC 8441).
func (p *peer) connect(id uint32) {
	block := p.Block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a.test", ":path", "/ws", "sec-websocket-version", "13")
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
}

// TestWebSocket: an instance sees a handshake of HTTP/1, whose answer is verified; one
// that does not switch makes no tunnel.
func TestWebSocket(t *testing.T) {
	accept := func(r *http.Request) string {
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	for _, c := range []struct {
		name, want, body string
		code             http2.ErrCode
		serve            func(w http.ResponseWriter, r *http.Request)
	}{
		{"good", "200", "HELLO", 0, func(w http.ResponseWriter, r *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept(r) + "\r\n\r\n")
			rw.Flush()
			b := make([]byte, 5)
			rw.Read(b)
			rw.WriteString("HELLO")
			rw.Flush()
		}},
		{"a length of its own", "200", "HELLO", 0, func(w http.ResponseWriter, r *http.Request) { // nghttp2 1347, Jetty 15074
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\nSec-WebSocket-Accept: " + accept(r) + "\r\n\r\n")
			rw.Flush()
			b := make([]byte, 5)
			rw.Read(b)
			rw.WriteString("HELLO")
			rw.Flush()
		}},
		{"another's answer", "", "", http2.ErrCodeConnect, func(w http.ResponseWriter, r *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n")
			rw.Flush()
		}},
		{"no switch", "502", "no", 0, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("no")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "GET" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("the instance is asked %s %v", r.Method, r.Header)
				}
				c.serve(w, r)
			})
			p := k.dial()
			p.connect(1)
			p.f.WriteData(1, false, []byte("hello"))
			status, body, code, _ := p.answer(1)
			if status != c.want || body != c.body || code != c.code {
				t.Errorf("answered %q %q, %v; want %q %q, %v", status, body, code, c.want, c.body, c.code)
			}
		})
	}
}

// TestOtherTunnels: an instance that does not switch to the protocol of an extended
// CONNECT makes no tunnel, whatever the protocol is.
func TestOtherTunnels(t *testing.T) {
	for _, protocol := range []string{"connect-udp", "h2c", "foo"} {
		k := newStack(t, engine.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("a page")) })
		p := k.dial()
		block := p.Block(":method", "CONNECT", ":protocol", protocol, ":scheme", "http", ":authority", "a.test", ":path", "/")
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
		if status, _, _, _ := p.answer(1); status[:1] == "2" {
			t.Errorf("%s: answered %s, which is a tunnel", protocol, status)
		}
	}
}

// TestTunnelOfASlowClient: a client that takes nothing of a tunnel, whose instance is
// silent then, is given up as a whole, and nothing waits for it.
func TestTunnelOfASlowClient(t *testing.T) {
	ended := make(chan struct{})
	k := newStack(t, engine.Options{WriteIdle: 300 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer close(ended)
		defer c.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
		rw.Write(make([]byte, 32<<20)) // more than all buffers on the way
		rw.Flush()
		c.Read(make([]byte, 1)) // until serai has given up
	})
	p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.f.WriteWindowUpdate(0, 1<<30)
	p.connect(1)
	<-ended
	until(t, "the end of the stream", func() bool { return k.engine.Status().Streams == 0 })
	k.answers()
}
