package wire_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"serai/wire"
	"serai/wire/socket"
)

// seed adds the cases of a golden folder.
func seed(f *testing.F, dir string) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases in testdata/%s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), "---\n")
		if raw, _ := parseCase(&testing.T{}, input); len(raw) < 4096 {
			f.Add(raw)
		}
	}
}

// message is what was read of one request.
type message struct {
	method, target, host, body string
}

// readOne reads one request, and returns what is left over.
func readOne(raw []byte) (m message, rest []byte, ok bool) {
	conn := socket.NewConn(&pipe{Reader: bytes.NewReader(raw)})
	var h wire.RequestHead
	n, err := readHead(conn, func(buf []byte) (int, error) { return h.ParseRequest(buf, wire.DefaultLimits()) })
	if err != nil {
		return m, nil, false
	}
	m = message{method: string(h.Method), target: string(h.Target), host: string(h.Host)}
	conn.Discard(n)
	var b wire.Body
	b.Reset(conn, h.Framing, h.Size, wire.DefaultLimits())
	var body []byte
	for {
		data, err := b.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, nil, false
		}
		body = append(body, data...)
	}
	m.body = string(body)
	rest = append([]byte(nil), conn.Buffered()...)
	more, _ := io.ReadAll(conn.Conn)
	return m, append(rest, more...), true
}

// trickle yields one byte at a time.
type trickle struct{ r io.Reader }

func (t trickle) Read(p []byte) (int, error) { return t.r.Read(p[:min(1, len(p))]) }

// FuzzRequest: whatever is accepted reads the same byte by byte, and net/http
// and fasthttp, where they accept it too, see the same method, host and body,
// and the next request at the same place.
func FuzzRequest(f *testing.F) {
	seed(f, "requests")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		m, rest, ok := readOne(raw)
		if !ok {
			return
		}
		again := socket.NewConn(&pipe{Reader: trickle{bytes.NewReader(raw)}})
		var h wire.RequestHead
		n, err := readHead(again, func(buf []byte) (int, error) { return h.ParseRequest(buf, wire.DefaultLimits()) })
		if err != nil || string(h.Method) != m.method || string(h.Target) != m.target || string(h.Host) != m.host {
			t.Fatalf("byte by byte: %q %q %q, %v; want %+v", h.Method, h.Target, h.Host, err, m)
		}
		again.Discard(n)
		compareNetHTTP(t, raw, m, rest)
		compareFastHTTP(t, raw, m, rest)
	})
}

func compareNetHTTP(t *testing.T, raw []byte, m message, rest []byte) {
	r := bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\r\n"))))
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatalf("net/http reads no whole body of %q: %v; we read %q", raw, err, m.body)
	}
	left, _ := io.ReadAll(r)
	if req.Method != m.method || req.Host != m.host || string(body) != m.body || !bytes.Equal(left, rest) {
		t.Fatalf("net/http reads %q as %s %q %q, then %q; we read %+v, then %q", raw, req.Method, req.Host, body, left, m, rest)
	}
}

func compareFastHTTP(t *testing.T, raw []byte, m message, rest []byte) {
	r := bufio.NewReader(bytes.NewReader(raw))
	var req fasthttp.Request
	if err := req.ReadLimitBody(r, 1<<20); err != nil {
		return
	}
	left, _ := io.ReadAll(r)
	// A GET with a body is not read as one there, and a body after an Expect
	// is left to the handler.
	if req.Header.IsGet() || req.Header.IsHead() || req.MayContinue() {
		return
	}
	if string(req.Header.Method()) != m.method || string(req.Body()) != m.body || !bytes.Equal(left, rest) {
		t.Fatalf("fasthttp reads %q as %s %q, then %q; we read %+v, then %q", raw, req.Header.Method(), req.Body(), left, m, rest)
	}
}

// FuzzResponse: an answer is read or refused, and read the same byte by byte.
func FuzzResponse(f *testing.F) {
	seed(f, "responses")
	read := func(r io.Reader) (head, body string, ok bool) {
		conn := socket.NewConn(&pipe{Reader: r})
		var h wire.ResponseHead
		n, err := readHead(conn, func(buf []byte) (int, error) { return h.ParseResponse(buf, []byte("GET"), wire.DefaultLimits()) })
		if err != nil {
			return "", "", false
		}
		head = string(conn.Buffered()[:n])
		conn.Discard(n)
		var b wire.Body
		b.ResetAnswer(conn, h.Framing, h.Size, wire.DefaultLimits())
		for {
			data, err := b.Next()
			if err != nil {
				return head, body, err == io.EOF
			}
			body += string(data)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		head, body, ok := read(bytes.NewReader(raw))
		head2, body2, ok2 := read(trickle{bytes.NewReader(raw)})
		if head != head2 || body != body2 || ok != ok2 {
			t.Fatalf("at once %q %q %v, byte by byte %q %q %v", head, body, ok, head2, body2, ok2)
		}
		if !ok {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: "GET"})
		if err != nil || res.StatusCode < 200 || res.StatusCode == 204 || res.StatusCode == 304 {
			return
		}
		// It takes fewer blanks and zeros about chunks than we do.
		theirs, err := io.ReadAll(res.Body)
		if err != nil && res.TransferEncoding != nil {
			return
		}
		if err != nil || string(theirs) != body {
			t.Fatalf("net/http reads %q, %v; we read %q", theirs, err, body)
		}
	})
}

// TestParsingAllocatesNothing, once the field slices have grown.
func TestParsingAllocatesNothing(t *testing.T) {
	request := []byte("POST /path?query=1 HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=1; b=2\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 3\r\n\r\nabc")
	response := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\nServer: test\r\nContent-Length: 3\r\n\r\nabc")
	var q wire.RequestHead
	var a wire.ResponseHead
	limits, get := wire.DefaultLimits(), []byte("GET")
	n := testing.AllocsPerRun(1000, func() {
		if _, err := q.ParseRequest(request, limits); err != nil {
			t.Fatal(err)
		}
		if _, err := a.ParseResponse(response, get, limits); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequestHead(b *testing.B) {
	raw := []byte("GET /path/to/something?query=1 HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nCookie: session=0123456789abcdef\r\nConnection: keep-alive\r\n\r\n")
	var h wire.RequestHead
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := h.ParseRequest(raw, wire.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
