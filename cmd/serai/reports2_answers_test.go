package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
	"serai/nomad"
)

// answerReports2 are answers of HTTP/1 that clients of HTTP/2 were reported not to get as they
// should: the answer, and what the client is to see of it, as heard2 tells it.
var answerReports2 = []struct{ name, method, answer, want string }{
	// What is of the connection is not forwarded: some clients end theirs for it.
	{"Upgrade, as Apache offers it", "GET", "200 OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"a field that Connection names", "GET", "200 OK\r\nConnection: X-Own, close\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"Proxy-Connection", "GET", "200 OK\r\nProxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"TE", "GET", "200 OK\r\nTE: trailers\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"HTTP2-Settings", "GET", "200 OK\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"chunks", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200; 2 end"},
	{"chunks of another case, with extensions", "GET", "200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0;c\r\n\r\n", "200; 2 end"},
	{"chunks and trailers", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", "200 trailer=X-Sum; 2, x-sum=1 end"},
	{"trailers of the framing", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 5\r\nX-Sum: 1\r\n\r\n", "200; 2, x-sum=1 end|200; 2 INTERNAL_ERROR"},
	{"names in upper case", "GET", "200 OK\r\nX-OWN: A\r\nCONTENT-LENGTH: 2\r\n\r\nok", "200 x-own=A content-length=2; 2 end"},
	{"blanks around a value", "GET", "200 OK\r\nX-Own: \t a \t\r\nContent-Length: 2\r\n\r\nok", "200 x-own=a content-length=2; 2 end"},
	{"a value of nothing", "GET", "200 OK\r\nX-Own:\r\nContent-Length: 2\r\n\r\nok", "200 x-own= content-length=2; 2 end"},
	{"bytes beyond ASCII", "GET", "200 OK\r\nX-Own: caf\xc3\xa9\xff\r\nContent-Length: 2\r\n\r\nok", "200 x-own=caf\xc3\xa9\xff content-length=2; 2 end"},
	{"cookies, of which each is a field", "GET", "200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok", "200 set-cookie=a=b set-cookie=c=d content-length=2; 2 end"},
	{"a field in two lines", "GET", "200 OK\r\nX-Own: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "200 x-own=a b content-length=2; 2 end|502"},
	{"a control byte", "GET", "200 OK\r\nX-Own: a\x01b\r\nContent-Length: 2\r\n\r\nok", "502"},
	{"a name with a blank", "GET", "200 OK\r\nX Own: a\r\nContent-Length: 2\r\n\r\nok", "502"},
	{"a name with a colon before", "GET", "200 OK\r\n:status: 500\r\nContent-Length: 2\r\n\r\nok", "502"},

	// Where the answer ends.
	{"HEAD with a length", "HEAD", "200 OK\r\nContent-Length: 100\r\n\r\n", "200 content-length=100 end"},
	{"HEAD with chunks", "HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 end"},
	{"HEAD with neither", "HEAD", "200 OK\r\n\r\n", "200 end"},
	{"304 with a length", "GET", "304 Not Modified\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n", "304 content-length=100 etag=\"a\" end"},
	{"304 with chunks", "GET", "304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "304 end"},
	{"204 with a length of 0", "GET", "204 No Content\r\nContent-Length: 0\r\n\r\n", "204 end"},
	{"205 with a length of 0", "GET", "205 Reset Content\r\nContent-Length: 0\r\n\r\n", "205 content-length=0 end"},
	{"nothing, with a length of 0", "GET", "200 OK\r\nContent-Length: 0\r\n\r\n", "200 content-length=0 end"},
	{"nothing, in chunks", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200; 0 end|200 end"},
	{"to the end of the connection", "GET", "200 OK\r\n\r\nok", "200; 2 end"},
	{"fewer bytes than the length", "GET", "200 OK\r\nContent-Length: 5\r\n\r\nok", "200 content-length=5; 2 INTERNAL_ERROR|200 content-length=5 INTERNAL_ERROR|INTERNAL_ERROR"},
	{"chunks without an end", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "200; 2 INTERNAL_ERROR|200 INTERNAL_ERROR|INTERNAL_ERROR"},
	{"chunks that are none", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", "200 INTERNAL_ERROR|INTERNAL_ERROR"},
	{"more bytes than the length", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "200 content-length=2; 2 end"},
	{"a length and chunks", "GET", "200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "502"},
	{"two lengths", "GET", "200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "502"},
	{"a protocol nobody asked for", "GET", "101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "502"},
	{"early hints", "GET", "103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "103 link=</a>; rel=preload, 200 content-length=2; 2 end"},
	{"102, and 103 of a connection", "GET", "102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: close\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "102, 103 link=x, 200 content-length=2; 2 end"},
	{"a reason that nobody needs", "GET", "200 Fine: it is\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"no reason", "GET", "200\r\nContent-Length: 2\r\n\r\nok", "200 content-length=2; 2 end"},
	{"an unknown status", "GET", "799 X\r\nContent-Length: 2\r\n\r\nok", "799 content-length=2; 2 end"},
	{"a field of 15000 bytes", "GET", "200 OK\r\nX-Own: " + strings.Repeat("a", 15000) + "\r\nContent-Length: 2\r\n\r\nok", "200 x-own=" + strings.Repeat("a", 15000) + " content-length=2; 2 end"},
}

// heard2 tells how stream 1 is answered: the heads without what serai and its machine add,
// the number of bytes, the trailers, and the end.
func heard2(p *testhttp2.Peer) string {
	var parts []string
	bytes := -1
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return strings.Join(append(parts, err.Error()), ", ")
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			said := []string{f.PseudoValue("status")}
			for _, field := range f.RegularFields() {
				if field.Name != "date" && field.Name != "x-request-id" {
					said = append(said, field.Name+"="+field.Value)
				}
			}
			if said[0] == "502" {
				return "502"
			}
			if said[0] == "" {
				said = said[1:]
			}
			if bytes >= 0 {
				parts[len(parts)-1] += fmt.Sprint("; ", bytes)
				bytes = -1
			}
			parts = append(parts, strings.Join(said, " "))
			if f.StreamEnded() {
				return strings.Join(parts, ", ") + " end"
			}
		case *http2.DataFrame:
			bytes = max(bytes, 0) + len(f.Data())
			if f.StreamEnded() {
				return strings.Join(parts, ", ") + fmt.Sprint("; ", bytes, " end")
			}
		case *http2.RSTStreamFrame:
			said := strings.Join(parts, ", ")
			if bytes >= 0 {
				said += fmt.Sprint("; ", bytes)
			}
			return strings.TrimSpace(said + " " + f.ErrCode.String())
		}
	}
}

// TestReportsOfAnswersOverHTTP2: each answer comes over HTTP/2 as it is meant to, and the next
// request of the connection is answered.
func TestReportsOfAnswersOverHTTP2(t *testing.T) {
	o := newRecorder(t, func(r *http.Request) string {
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &n); err != nil || n >= len(answerReports2) {
			return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		}
		return "HTTP/1.1 " + answerReports2[n].answer
	})
	// The next request may be sent on a connection that the recorder is about to close: it is
	// repeated then, as the others must not be.
	_, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=web.example.org", "ingress.retries=0",
		"ingress.last.host=web.example.org", "ingress.last.path=/last")})
	for i, r := range answerReports2 {
		t.Run(r.name, func(t *testing.T) {
			conn := dialFrom(t, "127.4.0.1", address)
			conn.SetDeadline(time.Now().Add(long))
			p := testhttp2.NewPeer(conn, "web.example.org")
			p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: p.Block(":method", r.method, ":scheme", "http", ":authority", "web.example.org", ":path", fmt.Sprint("/", i)), EndHeaders: true, EndStream: true,
			})
			if got := heard2(p); !slices.Contains(strings.Split(r.want, "|"), got) {
				t.Errorf("%.300q, want %.300q", got, r.want)
			}
			p.Get(next2, "/last")
			for {
				f, err := p.ReadFrame()
				if err != nil {
					t.Fatalf("the next request: %v", err)
				}
				if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamID == next2 {
					if h.PseudoValue("status") != "200" {
						t.Errorf("the next request is answered %s", h.PseudoValue("status"))
					}
					return
				}
			}
		})
	}
}
