package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"serai/nomad"
)

const (
	longText = "word word word word word word word word word word word word word word word word word word word w"
	asksGzip = web + "Accept-Encoding: gzip, deflate, br\n"
)

// pageOf is an answer with 1,920 bytes of text, and more lines in its head.
func pageOf(status string, lines ...string) string {
	lines = append([]string{"HTTP/1.1 " + status, "Content-Type: text/html", "Content-Length: 1920"}, lines...)
	return strings.Join(lines, "\n") + "\n\n" + strings.Repeat(longText, 20)
}

// compressReports are from reports about what compresses answers in nginx, Caddy, Traefik,
// Envoy, HAProxy, gorilla/handlers, Starlette and others.
var compressReports = []report{
	{name: "Vary for who does not take it", send: web + "\n", answer: pageOf("200 OK"), want: "200, on", got: "Vary: Accept-Encoding\n|Content-Length: 1920\n|word word|!Content-Encoding"},
	{name: "Vary once", send: asksGzip + "\n", answer: pageOf("200 OK", "Vary: Accept-Encoding, Cookie"), want: "200, on", got: "Vary: Accept-Encoding, Cookie\nContent-Encoding"},
	{name: "length is not left", send: asksGzip + "\n", answer: pageOf("200 OK"), want: "200, on", got: "!Content-Length: 1920|Transfer-Encoding: chunked\n|Content-Encoding: gzip\n|!word word"},
	{name: "coded twice", send: asksGzip + "\n", answer: pageOf("200 OK", "Content-Encoding: gzip"), want: "200, on", got: "Content-Encoding: gzip\nDate|Content-Length: 1920|word word"},
	{name: "coded for who refuses it", send: web + "Accept-Encoding: identity\n\n", answer: pageOf("200 OK", "Content-Encoding: br"), want: "200, on", got: "Content-Encoding: br\n|word word"},
	{name: "status stays", send: asksGzip + "\n", answer: pageOf("403 Forbidden"), want: "403, on", got: "HTTP/1.1 403 Forbidden\n|Content-Encoding: gzip"},
	{name: "unknown status stays", send: asksGzip + "\n", answer: pageOf("499 Who Knows"), want: "499, on", got: "HTTP/1.1 499 Who Knows\n|Content-Encoding: gzip"},
	{name: "redirect stays", send: asksGzip + "\n", answer: pageOf("302 Found", "Location: /x"), want: "302, on", got: "Location: /x\n"},
	{name: "not modified has no coding", send: asksGzip + "If-None-Match: W/\"a\"\n\n", answer: "HTTP/1.1 304 Not Modified\nETag: \"a\"\n\n", want: "304, on", got: "ETag: W/\"a\"\n|!Content-Encoding|!Transfer-Encoding"},
	{name: "not modified with a length", send: asksGzip + "\n", answer: "HTTP/1.1 304 Not Modified\nContent-Length: 5000\nContent-Type: text/html\n\n", want: "304, on", got: "!Content-Encoding|!chunked"},
	{name: "no content", send: asksGzip + "\n", answer: "HTTP/1.1 204 No Content\nContent-Type: text/html\n\n", want: "204, on", got: "!Content-Encoding|!chunked"},
	{name: "HEAD has no body", send: "HEAD / HTTP/1.1\nHost: web.example.org\nAccept-Encoding: gzip\n\n", answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 1920\nETag: \"a\"\n\n", want: "200, on", got: "ETag: W/\"a\"\n|Content-Encoding: gzip|!1920|!\x1f\x8b"},
	{name: "empty body", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 0\n\n", want: "200, on", got: "Content-Length: 0\n|!Content-Encoding"},
	{name: "empty body in chunks", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nTransfer-Encoding: chunked\n\n0\n\n", want: "200, on", got: "Content-Encoding: gzip"},
	{name: "tiny chunks", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nTransfer-Encoding: chunked\n\n1;x=y\na\n1\nb\n0\nX-Sum: 1\n\n", want: "200, on", got: "Content-Encoding: gzip|X-Sum: 1"},
	{name: "until the end", send: asksGzip + "\n", answer: "HTTP/1.0 200 OK\nContent-Type: text/html\n\n" + strings.Repeat(longText, 20) + closes, want: "200, on", got: "Content-Encoding: gzip|!word word"},
	{name: "length longer than the body", send: asksGzip + "\n", alone: true, answer: strings.Replace(pageOf("200 OK"), "1920", "1921", 1) + closes, want: "200 cut, end"},
	{name: "chunks that break off", send: asksGzip + "\n", alone: true, answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nTransfer-Encoding: chunked\n\n3\nabc\n" + closes, want: "200 cut, end"},
	{name: "a chunk that is none", send: asksGzip + "\n", alone: true, answer: "HTTP/1.1 200 OK\nContent-Type: text/html\nTransfer-Encoding: chunked\n\n3\nabc\nxyz\n", want: "200 cut, end"},
	{name: "part", send: asksGzip + "Range: bytes=0-1919\n\n", answer: pageOf("206 Partial Content", "Content-Range: bytes 0-1919/4000"), want: "206, on", got: "Content-Range: bytes 0-1919/4000\n|Content-Length: 1920\n|!Content-Encoding|word word"},
	{name: "no such part", send: asksGzip + "Range: bytes=9000-\n\n", answer: pageOf("416 Range Not Satisfiable", "Content-Range: bytes */4000"), want: "416, on", got: "Content-Range: bytes */4000\n|!Content-Encoding|word word"},
	{name: "all instead of a part", send: asksGzip + "Range: bytes=9-\nIf-Range: \"b\"\n\n", answer: pageOf("200 OK", "ETag: \"a\""), want: "200, on", got: "ETag: \"a\"\n|!Content-Encoding|word word"},
	{name: "parts are not offered", send: asksGzip + "\n", answer: pageOf("200 OK", "Accept-Ranges: bytes"), want: "200, on", got: "!Accept-Ranges"},
	{name: "strong ETag", send: asksGzip + "\n", answer: pageOf("200 OK", "ETag: \"a-b\""), want: "200, on", got: "ETag: W/\"a-b\"\n"},
	{name: "ETag without quotes", send: asksGzip + "\n", answer: pageOf("200 OK", "ETag: abc"), want: "200, on", got: "!ETag"},
	{name: "no-transform", send: asksGzip + "\n", answer: pageOf("200 OK", "Cache-Control: no-transform"), want: "200, on", got: "!Content-Encoding|word word"},
	{name: "MD5", send: asksGzip + "\n", answer: pageOf("200 OK", "Content-MD5: x"), want: "200, on", got: "Content-MD5: x\n|!Content-Encoding"},
	{name: "refused with q=0", send: web + "Accept-Encoding: gzip;q=0\n\n", answer: pageOf("200 OK"), want: "200, on", got: "!Content-Encoding|word word"},
	{name: "refused with q=0.000, star", send: web + "Accept-Encoding: *;q=0.000\n\n", answer: pageOf("200 OK"), want: "200, on", got: "!Content-Encoding|word word"},
	{name: "gzip as part of a name", send: web + "Accept-Encoding: gzipped, x-gzip-2\n\n", answer: pageOf("200 OK"), want: "200, on", got: "!Content-Encoding|word word"},
	{name: "in two lines", send: web + "Accept-Encoding: deflate\nAccept-Encoding: gzip\n\n", answer: pageOf("200 OK"), want: "200, on", got: "Content-Encoding: gzip\n"},
	{name: "of ten thousand codings", send: web + "Accept-Encoding: " + strings.Repeat("a;q=0.1,", 5000) + "gzip\n\n", answer: pageOf("200 OK"), want: "200, on", got: "Content-Encoding: gzip\n"},
	{name: "the instance is asked as the client asks", send: web + "Accept-Encoding: br;q=0.1, gzip\n\n", answer: pageOf("200 OK"), want: "200, on", seen: "Accept-Encoding: br;q=0.1, gzip\n"},
	{name: "upgrade that is refused", send: asksGzip + "Connection: Upgrade\nUpgrade: websocket\n\n", alone: true, answer: pageOf("403 Forbidden"), want: "403, end", got: "!Content-Encoding|word word"},
	{name: "HTTP/1.0", send: "GET / HTTP/1.0\nHost: web.example.org\nAccept-Encoding: gzip\n\n", alone: true, answer: pageOf("200 OK"), want: "200, end", got: "Content-Length: 1920\n|!Content-Encoding|word word"},
	{name: "early hints come first", send: asksGzip + "\n", answer: "HTTP/1.1 103 Early Hints\nLink: </a>\n\n" + pageOf("200 OK"), want: "103, 200, on", got: "Link: </a>\n|Content-Encoding: gzip"},
	{name: "image", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Type: image/png\nContent-Length: 1920\n\n" + strings.Repeat(longText, 20), want: "200, on", got: "!Content-Encoding|!Vary"},
	{name: "no type", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Length: 1920\n\n" + strings.Repeat(longText, 20), want: "200, on", got: "!Content-Encoding|!Vary|!Content-Type"},
	{name: "gRPC", send: asksGzip + "\n", answer: "HTTP/1.1 200 OK\nContent-Type: application/grpc+json\nContent-Length: 1920\n\n" + strings.Repeat(longText, 20), want: "200, on", got: "!Content-Encoding"},
	{name: "serai's own answer", send: "GET / HTTP/1.1\nHost: none.example.org\nAccept-Encoding: gzip\n\n", want: "404 no-host, on", got: "!Content-Encoding", seen: "-"},
}

// TestReportsOfCompression: the cases, on a route that compresses with gzip.
func TestReportsOfCompression(t *testing.T) {
	s := newStage(t)
	_, address := serveStatic(t, []nomad.Registration{s.registration("web", "ingress.host=web.example.org", "ingress.compress=gzip", "ingress.retries=0")})
	s.run(t, address, compressReports)
}

// TestPipelinedCompressed: requests that come at once are each answered in their order,
// compressed or not as each says, and each body is whole.
func TestPipelinedCompressed(t *testing.T) {
	s := newStage(t)
	s.begin(pageOf("200 OK"))
	_, address := serveStatic(t, []nomad.Registration{s.registration("web", "ingress.host=web.example.org", "ingress.compress=gzip")})
	c := dialFrom(t, "127.0.0.1", address)
	io.WriteString(c, crlf(strings.Repeat(asksGzip+"\n"+web+"\n", 10)))
	r := bufio.NewReader(c)
	for i := range 20 {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := io.Reader(a.Body)
		if want := map[bool]string{true: "gzip"}[i%2 == 0]; a.Header.Get("Content-Encoding") != want {
			t.Fatalf("answer %d: %v", i, a.Header)
		} else if want != "" {
			if in, err = gzip.NewReader(a.Body); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(body, []byte(strings.Repeat(longText, 20))) {
			t.Fatalf("answer %d has %d bytes, %v", i, len(body), err)
		}
		if n, err := io.Copy(io.Discard, a.Body); n > 0 || err != nil {
			t.Fatal(fmt.Sprint(n, " more bytes, ", err))
		}
	}
}
