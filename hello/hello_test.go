package hello_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/hello"
)

func TestTellsWhatItReceivedAsText(t *testing.T) {
	s := start(t, bound)
	c, r := s.dial(t, "POST /a%2Fb/../c?x=1&y HTTP/1.1\r\nhost: whoami.localhost\r\nx-one: 1\r\ncontent-LENGTH: 5\r\nX-One:  2 \r\n\r\nhello")
	body, err := io.ReadAll(answer(t, r).Body)
	if err != nil {
		t.Fatal(err)
	}
	want := "whoami, allocation a1 on n1\n\nPOST /a%2Fb/../c?x=1&y\n" +
		"host: whoami.localhost\nx-one: 1\ncontent-LENGTH: 5\nX-One: 2\n\n" +
		"from " + c.LocalAddr().String() + ", 5 bytes of body\n"
	if string(body) != want {
		t.Errorf("answer\n%swant\n%s", body, want)
	}
}

func TestTellsWhatItReceivedAsJSON(t *testing.T) {
	s := start(t, bound)
	c, r := s.dial(t, "PUT /a?x=1 HTTP/1.1\r\nHost: whoami.localhost\r\naccept: application/json\r\nX-A: b\r\n c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
	var got hello.Answer
	if err := json.NewDecoder(answer(t, r).Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := hello.Answer{
		Name: "whoami", Alloc: "a1", Node: "n1", Remote: c.LocalAddr().String(), Method: "PUT", Host: "whoami.localhost", Path: "/a", Query: "x=1", Body: 7,
		Headers: [][2]string{{"Host", "whoami.localhost"}, {"accept", "application/json"}, {"X-A", "b c"}, {"Transfer-Encoding", "chunked"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answer %+v\nwant   %+v", got, want)
	}
}

func TestAcceptChoosesTheForm(t *testing.T) {
	s := start(t, bound)
	for accept, wantJSON := range map[string]bool{
		"":                                    false,
		"*/*":                                 false,
		"text/html, */*;q=0.8":                false,
		"application/json":                    true,
		"text/html, Application/JSON; q=0.5":  true,
		"application/json;q=0, text/plain":    false,
		"application/jsonlines, text/x-json;": false,
	} {
		if _, body := s.get(t, "/", "Accept", accept); json.Valid([]byte(body)) != wantJSON {
			t.Errorf("accept %q: JSON is %v, want %v:\n%s", accept, !wantJSON, wantJSON, body)
		}
	}
}

func TestStatusBytesAndHealth(t *testing.T) {
	s := start(t, bound)
	for path, want := range map[string]int{
		"/healthz": 200, "/status/503": 503, "/status/204": 204, "/status/100": 400, "/status/banana": 400,
		"/bytes/-1": 400, "/bytes/1073741825": 400, "/bytes/": 400, "/slow?wait=1ms": 200, "/ws": 400, "/echo": 200,
	} {
		if status, body := s.get(t, path); status != want {
			t.Errorf("%s answered %d %q, want %d", path, status, body, want)
		}
	}
	for _, n := range []int{0, 1, 100_000, 5 << 20} {
		if _, body := s.get(t, "/bytes/"+strconv.Itoa(n)); len(body) != n {
			t.Errorf("/bytes/%d answered %d bytes", n, len(body))
		}
	}
}

func TestEchoKeepsLengthAndType(t *testing.T) {
	s := start(t, bound)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("a", "b")
	w.Close()
	for kind, body := range map[string]string{
		"text/x-large":          strings.Repeat("x", 3<<20), // more than is buffered
		"text/x-empty":          "",
		w.FormDataContentType(): form.String(), // which is not for the server to read
	} {
		a, err := s.client.Post(s.url+"/echo", kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(a.Body)
		a.Body.Close()
		if string(got) != body || err != nil || a.ContentLength != int64(len(body)) || a.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %d bytes of %d came back as %q with length %d, %v", kind, len(got), len(body), a.Header.Get("Content-Type"), a.ContentLength, err)
		}
	}
}

func TestEchoStreams(t *testing.T) {
	s := start(t, bound)
	c, r := s.dial(t, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	send(t, c, "3\r\none\r\n")
	a := answer(t, r)
	for _, word := range []string{"one", "two"} { // each while the request goes on
		got := make([]byte, 3)
		if _, err := io.ReadFull(a.Body, got); err != nil || string(got) != word {
			t.Fatalf("%q came back, %v; want %q", got, err, word)
		}
		if word == "one" {
			send(t, c, "3\r\ntwo\r\n")
		}
	}
	send(t, c, "0\r\n\r\n")
	if rest, err := io.ReadAll(a.Body); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestABodyThatIsCutIsNoWholeOne(t *testing.T) {
	s := start(t, bound)
	half := strings.Repeat("x", 50_000)
	for name, head := range map[string]string{
		"length":  "Content-Length: 100000\r\n\r\n" + half,
		"chunked": "Transfer-Encoding: chunked\r\n\r\nc350\r\n" + half + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, r := s.dial(t, "POST / HTTP/1.1\r\nHost: a\r\n"+head)
			c.(*net.TCPConn).CloseWrite()
			if a := answer(t, r); a.StatusCode != 400 || !a.Close {
				t.Errorf("answered %d, closing %v; want 400 and closed", a.StatusCode, a.Close)
			}
			c, r = s.dial(t, "POST /echo HTTP/1.1\r\nHost: a\r\n"+head)
			c.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(answer(t, r).Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the echo of half a body is %d bytes, then %v", len(got), err)
			}
		})
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	s := start(t, bound)
	idle, idleAnswers := s.dial(t, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	answer(t, idleAnswers).Body.Close()
	_, slow := s.dial(t, "GET /slow?wait=1s HTTP/1.1\r\nHost: a\r\n\r\n")
	_, counted := s.dial(t, "GET /sse?every=100ms&count=10 HTTP/1.1\r\nHost: a\r\n\r\n")
	events := answer(t, counted)

	s.cancel()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection ended with %v, want %v", err, io.EOF)
	}
	if c, err := net.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("a connection is accepted after the stop")
	}
	a := answer(t, slow)
	if body, err := io.ReadAll(a.Body); err != nil || string(body) != "whoami waited 1s\n" || !a.Close {
		t.Errorf("the slow answer is %q, %v, closing %v", body, err, a.Close)
	}
	if body, err := io.ReadAll(events.Body); err != nil || strings.Count(string(body), "data:") != 10 {
		t.Errorf("the stream of ten ended with %v after\n%s", err, body)
	}
	if err := s.stop(t); err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestStopAnswersWhatWasOnItsWay: requests that come just after the stop, on an idle
// connection and on a new one, are answered, and their connections end.
func TestStopAnswersWhatWasOnItsWay(t *testing.T) {
	s := startWith(t, hello.Options{Grace: 3 * time.Second, ShutdownTimeout: bound})
	used, usedAnswers := s.dial(t, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	answer(t, usedAnswers).Body.Close()
	s.cancel()
	_, newAnswers := s.dial(t, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
	io.WriteString(used, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nho")
	for want, answers := range map[string]*bufio.Reader{"hi": newAnswers, "ho": usedAnswers} {
		a := answer(t, answers)
		if body, err := io.ReadAll(a.Body); err != nil || string(body) != want || !a.Close {
			t.Errorf("answered %q, %v, closing %v; want %q", body, err, a.Close, want)
		}
	}
}

func TestStopCutsWhatLastsLonger(t *testing.T) {
	s := start(t, 100*time.Millisecond)
	_, slow := s.dial(t, "GET /slow?wait=1m HTTP/1.1\r\nHost: a\r\n\r\n")
	_, counted := s.dial(t, "GET /sse?every=10ms&count=1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
	events := answer(t, counted)

	err := s.stop(t)
	if err == nil || !strings.Contains(err.Error(), "in flight were cut after 100ms") {
		t.Errorf("serve: %v", err)
	}
	if _, err := http.ReadResponse(slow, nil); err == nil {
		t.Error("the slow answer came")
	}
	if _, err := io.ReadAll(events.Body); err == nil {
		t.Error("the stream that was cut ended as if whole")
	}
}

func TestStopBeforeTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := hello.Serve(ctx, l, hello.Options{}); err != nil {
		t.Errorf("serve: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener is open")
	}
}

// exhausted has no file descriptor left.
type exhausted struct{ net.Listener }

func (exhausted) Accept() (net.Conn, error) { return nil, syscall.EMFILE }

func TestAnAcceptErrorIsToldAndTheListenerClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := hello.Serve(t.Context(), exhausted{l}, hello.Options{}); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("serve: %v, want %v", err, syscall.EMFILE)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener is open")
	}
}

func TestRunRefusesBadOptionsAllAtOnce(t *testing.T) {
	err := hello.Run(t.Context(), hello.Options{Addr: "8080", ShutdownTimeout: -time.Second})
	for _, want := range []string{`address "8080" is not HOST:PORT`, "shutdown timeout -1s is negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run: %v, want %q", err, want)
		}
	}
}

func TestRunNeedsTheAddress(t *testing.T) {
	s := start(t, bound)
	if err := hello.Run(t.Context(), hello.Options{Addr: s.address}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("run: %v, want %v", err, syscall.EADDRINUSE)
	}
}
