package decisions_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// The claims of 0001-fasthttp.md about fasthttp.HostClient, in its order.

const cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

// Up to 1.77 a streamed body read as a clean end.
func TestClientReportsAChunkedBodyCutAtAChunkBoundary(t *testing.T) {
	for name, sent := range map[string]string{"after a chunk": cut, "after the last chunk": cut + "0\r\n"} {
		o := newOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			o.request(r)
			io.WriteString(c, sent)
		})
		t.Run(name+", streamed", func(t *testing.T) {
			var a fasthttp.Response
			a.StreamBody = true
			if err := ask(o.client(t), "GET", &a); err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(a.BodyStream())
			if string(body) != "hello" || err == nil {
				t.Errorf("read %q, then %v; want hello, then an error", body, err)
			}
			a.CloseBodyStream()
		})
		t.Run(name+", buffered", func(t *testing.T) {
			var a fasthttp.Response
			if err := ask(o.client(t), "POST", &a); err == nil {
				t.Errorf("answer %d %q, want an error", a.StatusCode(), a.Body())
			}
		})
	}
}

func TestUnsolicitedBytesOnAnIdleConnectionBecomeTheNextCallersResponse(t *testing.T) {
	answered, forged := make(chan struct{}), make(chan struct{})
	o := newOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.request(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
		<-answered
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
		close(forged)
		o.request(r) // which is answered already
	})
	client := o.client(t)
	var a fasthttp.Response
	if err := ask(client, "GET", &a); err != nil || string(a.Body()) != "first" {
		t.Fatalf("answer %q, %v", a.Body(), err)
	}
	close(answered)
	wait(t, "forged response", forged)
	time.Sleep(pause) // enough for any watcher of idle connections to see it
	if err := ask(client, "GET", &a); err != nil || string(a.Body()) != "forged" {
		t.Errorf("answer %q, %v; want what was sent before the request", a.Body(), err)
	}
}

// ReadTimeout spans the whole response, whatever progress is made.
func TestClientReadTimeoutIsAbsolute(t *testing.T) {
	o := newOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.request(r)
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		for err == nil { // a body that never stops coming
			time.Sleep(5 * time.Millisecond)
			_, err = io.WriteString(c, "x")
		}
	})
	client := o.client(t)
	client.ReadTimeout = 250 * time.Millisecond
	var a fasthttp.Response
	if err := ask(client, "POST", &a); !timedOut(err) {
		t.Errorf("the response ended with %v, want a timeout", err)
	}
}

// A response with both may be an attempt at response splitting.
func TestClientKeepsTheConnectionAfterCLWithTE(t *testing.T) {
	o := newOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.request(r) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		}
	})
	client := o.client(t)
	var a fasthttp.Response
	if err := ask(client, "GET", &a); err != nil || string(a.Body()) != "hello" {
		t.Errorf("answer %q, %v; want hello", a.Body(), err)
	}
	if n := client.IdleConnsCount(); n != 1 {
		t.Errorf("%d idle connections, want 1", n)
	}
}

func TestClientSendsAnIdempotentRequestFiveTimesOnFailure(t *testing.T) {
	silent := func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.request(r) {
			// The next read ends when the client has given up.
		}
	}
	closing := func(o *origin, c net.Conn, r *bufio.Reader) { o.request(r) }
	begun := func(o *origin, c net.Conn, r *bufio.Reader) {
		o.request(r)
		io.WriteString(c, cut)
	}
	for name, c := range map[string]struct {
		method string
		talk   func(*origin, net.Conn, *bufio.Reader)
		want   int32
	}{
		"GET, timeout":                {"GET", silent, 5},
		"GET, closed":                 {"GET", closing, 5},
		"GET, cut within the answer":  {"GET", begun, 5},
		"PUT, timeout":                {"PUT", silent, 5},
		"POST, timeout":               {"POST", silent, 1},
		"POST, cut within the answer": {"POST", begun, 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, c.talk)
			client := o.client(t)
			client.ReadTimeout = 100 * time.Millisecond
			var a fasthttp.Response
			if err := ask(client, c.method, &a); err == nil {
				t.Errorf("answer %d, want an error", a.StatusCode())
			}
			for end := time.Now().Add(bound); o.requests.Load() < c.want && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the last is sent, but may not be read yet
			}
			if n := o.requests.Load(); n != c.want {
				t.Errorf("the origin read %d requests, want %d", n, c.want)
			}
		})
	}
}

func TestClientSwallows1xx(t *testing.T) {
	o := newOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.request(r) {
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	var a fasthttp.Response
	if err := ask(o.client(t), "GET", &a); err != nil {
		t.Fatal(err)
	}
	if a.StatusCode() != 200 || len(a.Header.Peek("Link")) != 0 {
		t.Errorf("status %d, link %q; want 200 and nothing of the 103", a.StatusCode(), a.Header.Peek("Link"))
	}
}
