package hello_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestEventsAreCounted(t *testing.T) {
	s := start(t, bound)
	_, body := s.get(t, "/sse?every=1ms&count=3")
	want := "id: 1\ndata: whoami a1\n\nid: 2\ndata: whoami a1\n\nid: 3\ndata: whoami a1\n\n"
	if body != want {
		t.Errorf("the stream is %q, want %q", body, want)
	}
}

func TestEndlessEventsEndWithTheService(t *testing.T) {
	s := start(t, bound)
	_, r := s.dial(t, "GET /sse?every=1m HTTP/1.1\r\nHost: a\r\n\r\n")
	a := answer(t, r)
	if kind := a.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("content type %q", kind)
	}
	lines := bufio.NewReader(a.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Errorf("the stream began with %q, %v", line, err)
	}
	s.cancel()
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestEventsEndWithTheClient(t *testing.T) {
	s := start(t, bound)
	c, r := s.dial(t, "GET /sse?every=1ms&count=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
	answer(t, r)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := s.stop(t); err != nil { // it would be cut after the bound
		t.Errorf("serve: %v", err)
	}
}

func TestWebSocketEchoes(t *testing.T) {
	s := start(t, bound)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.address+"/ws", &websocket.DialOptions{HTTPClient: s.client, HTTPHeader: map[string][]string{"Origin": {"http://another.example.org"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for kind, text := range map[websocket.MessageType]string{
		websocket.MessageText: "caravan", websocket.MessageBinary: strings.Repeat("\x00\xff", 100_000),
	} {
		if err := c.Write(ctx, kind, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, message, err := c.Read(ctx); err != nil || got != kind || string(message) != text {
			t.Errorf("%v of %d bytes came back as %v of %d, %v", kind, len(text), got, len(message), err)
		}
	}
	s.cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the stop ended the websocket with %v", err)
	}
	if err := s.stop(t); err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestStopWaitsOnlyAMomentForAWebSocketThatIsDeaf(t *testing.T) {
	s := start(t, bound)
	_, r := s.dial(t, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if a := answer(t, r); a.StatusCode != 101 || a.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, section 1.3
		t.Fatalf("answered %d %v", a.StatusCode, a.Header)
	}
	begun := time.Now()
	if err := s.stop(t); err != nil {
		t.Errorf("serve: %v", err)
	}
	if took := time.Since(begun); took > bound/2 {
		t.Errorf("it took %v", took)
	}
	if text, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(text), "stopping") {
		t.Errorf("the client read %q, %v; want a close frame", text, err)
	}
}
