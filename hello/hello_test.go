package hello_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"serai/hello"
)

// serve runs the service and returns its address.
func serve(t *testing.T) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- hello.Serve(ctx, l, hello.Options{Name: "whoami", Alloc: "a1", Node: "n1", ShutdownTimeout: 5 * time.Second})
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func get(t *testing.T, url, accept string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestTellsWhatItReceived(t *testing.T) {
	address, _ := serve(t)
	_, text := get(t, "http://"+address+"/a%2Fb?x=1", "*/*")
	for _, want := range []string{"whoami, allocation a1 on n1", "GET /a%2Fb?x=1", "Accept: */*"} {
		if !strings.Contains(text, want) {
			t.Errorf("the answer lacks %q:\n%s", want, text)
		}
	}
	_, text = get(t, "http://"+address+"/a?x=1", "application/json")
	var a hello.Answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if a.Name != "whoami" || a.Path != "/a" || a.Query != "x=1" || a.Host != address {
		t.Errorf("answer %+v", a)
	}
}

func TestStatusBytesAndEcho(t *testing.T) {
	address, _ := serve(t)
	if status, _ := get(t, "http://"+address+"/status/503", ""); status != 503 {
		t.Errorf("/status/503 answered %d", status)
	}
	if status, _ := get(t, "http://"+address+"/status/banana", ""); status != 400 {
		t.Errorf("/status/banana answered %d", status)
	}
	if _, body := get(t, "http://"+address+"/bytes/100000", ""); len(body) != 100000 {
		t.Errorf("/bytes/100000 answered %d bytes", len(body))
	}
	large := strings.Repeat("x", 3<<20) // beyond what is buffered
	res, err := http.Post("http://"+address+"/echo", "text/plain", strings.NewReader(large))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != large {
		t.Errorf("/echo answered %d bytes, want %d", len(body), len(large))
	}
}

func TestStreams(t *testing.T) {
	address, stop := serve(t)
	if _, body := get(t, "http://"+address+"/sse?every=1ms&count=3", ""); strings.Count(body, "data: whoami a1") != 3 {
		t.Errorf("/sse?count=3 answered %q", body)
	}
	res, err := http.Get("http://" + address + "/sse?every=1ms")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if line, _ := lines.ReadString('\n'); line != "id: 1\n" {
		t.Errorf("the endless stream began with %q", line)
	}
	stop() // ends it
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the endless stream ended with %v", err)
	}
}

func TestWebSocketEchoes(t *testing.T) {
	address, stop := serve(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("caravan")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := c.Read(ctx); err != nil || string(message) != "caravan" {
		t.Errorf("echo %q, %v", message, err)
	}
	go stop()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("a stop ended the websocket with %v", err)
	}
}
