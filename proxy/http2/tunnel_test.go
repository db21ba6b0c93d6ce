package http2_test

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"testing"

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
