// Package decisions_test shows what the decisions of this folder rest on.
package decisions_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// serve runs a fasthttp server that answers with the body it read, and returns
// what it answered to raw bytes after which the client closes its side.
func serve(t *testing.T, raw string) (answer string, bodies []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 16)
	server := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) { read <- string(c.PostBody()) }, Logger: quiet{}}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, raw)
	c.(*net.TCPConn).CloseWrite()
	text, _ := io.ReadAll(c)
	server.Shutdown()
	<-ended
	close(read)
	for b := range read {
		bodies = append(bodies, b)
	}
	return string(text), bodies
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// accepted holds a fasthttp server to serving what a strict one refuses.
func accepted(t *testing.T, raw string) {
	t.Helper()
	if answer, bodies := serve(t, raw); !strings.HasPrefix(answer, "HTTP/1.1 200") || len(bodies) == 0 {
		t.Errorf("fasthttp does not accept %q any more: %q. The decision record is to be read again", raw, answer)
	}
}

// These two were the other way round up to version 1.77.

func TestServerRefusesBareLineFeeds(t *testing.T) {
	if answer, _ := serve(t, "GET / HTTP/1.1\r\nHost: a\nX: 1\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("bare line feeds are answered %q", answer)
	}
}

func TestServerNoticesABodyCutAtAChunk(t *testing.T) {
	if answer, bodies := serve(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"); len(bodies) > 0 {
		t.Errorf("half a body reached the handler: %q, answered %q", bodies, answer)
	}
}

func TestServerAcceptsFoldedFields(t *testing.T) {
	accepted(t, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n")
}

func TestServerAcceptsLengthAndTransferEncoding(t *testing.T) {
	accepted(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
}

// accept fails as when no descriptor is left.
type accept struct{ net.Listener }

var errNoDescriptor = errors.New("too many open files")

func (accept) Accept() (net.Conn, error) { return nil, errNoDescriptor }

func TestAnAcceptErrorEndsTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}, Logger: quiet{}}
	if err := server.Serve(accept{l}); !errors.Is(err, errNoDescriptor) {
		t.Errorf("serve goes on, or ends with %v", err)
	}
}

// origin answers each connection by hand.
func origin(t *testing.T, answer func(n int, c net.Conn, r *bufio.Reader)) (client *fasthttp.HostClient, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(conns.Add(1))
			go func() {
				defer c.Close()
				answer(n, c, bufio.NewReader(c))
			}()
		}
	}()
	client = &fasthttp.HostClient{Addr: l.Addr().String(), ReadTimeout: 5 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return client, conns
}

// request reads one request head.
func request(r *bufio.Reader) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

func do(t *testing.T, client *fasthttp.HostClient) (status int, body string, err error) {
	t.Helper()
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI("http://" + client.Addr + "/")
	err = client.Do(q, a)
	return a.StatusCode(), string(a.Body()), err
}

// Up to version 1.77 it read as whole.
func TestClientNoticesAnAnswerCutAtAChunk(t *testing.T) {
	client, _ := origin(t, func(_ int, c net.Conn, r *bufio.Reader) {
		request(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	})
	if _, body, err := do(t, client); err == nil {
		t.Errorf("half an answer read as whole: %q", body)
	}
}

func TestInterimAnswersAreSwallowed(t *testing.T) {
	client, _ := origin(t, func(_ int, c net.Conn, r *bufio.Reader) {
		request(r)
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	if status, body, err := do(t, client); status != 200 || body != "ok" || err != nil {
		t.Errorf("status %d, body %q, %v", status, body, err)
	}
}

func TestAFailedGetIsSentAgain(t *testing.T) {
	client, conns := origin(t, func(_ int, c net.Conn, r *bufio.Reader) { request(r) }) // and closes
	if _, _, err := do(t, client); err == nil || conns.Load() != 5 {
		t.Errorf("%d connections, error %v; it was sent five times", conns.Load(), err)
	}
}
