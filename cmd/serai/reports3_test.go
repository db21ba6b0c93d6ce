package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
	"serai/nomad"
)

// refusedHeads are heads that serai refuses, and what an operator who looks for the
// cause in the access log must find there: the target as far as it was read, and the
// version only where it is known (nginx logs the line itself).
var refusedHeads = []struct {
	name, send     string
	path, protocol string
	combined       string
}{
	{"fragment", "GET /p?q=1#f HTTP/1.1\nHost: web.example.org\n\n", "/p?q=1", "", `"GET /p?q=1" 400 `},
	{"byte beyond ASCII", "GET /a\xe4b HTTP/1.1\nHost: web.example.org\n\n", "/a", "", `"GET /a" 400 `},
	{"blank in the target", "GET /a b HTTP/1.1\nHost: web.example.org\n\n", "/a", "", `"GET /a" 400 `},
	{"no slash", "GET p HTTP/1.1\nHost: web.example.org\n\n", "p", "HTTP/1.1", `"GET p HTTP/1.1" 400 `},
	{"version 3.0", "GET /p HTTP/3.0\nHost: web.example.org\n\n", "/p", "", `"GET /p" 505 `},
	{"no version", "GET /p\n\n", "/p", "", `"GET /p" 400 `},
	{"version 1.0 and a bad field", "GET /p HTTP/1.0\nBad Name: x\n\n", "/p", "HTTP/1.0", `"GET /p HTTP/1.0" 400 `},
	{"long target", "GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1\nHost: web.example.org\n\n", "/" + strings.Repeat("a", 2047), "", `"GET /aaaa`},
	{"no target", "GET  HTTP/1.1\nHost: web.example.org\n\n", "", "", `"GET" 400 `},
	{"no host", "GET /p HTTP/1.1\n\n", "/p", "HTTP/1.1", `"GET /p HTTP/1.1" 400 `},
	{"HEAD with a bad host", "HEAD /p HTTP/1.1\nHost: a b\n\n", "/p", "HTTP/1.1", `"HEAD /p HTTP/1.1" 400 -`},
}

func TestRefusedHeadsInTheLog(t *testing.T) {
	for _, format := range []string{"json", "combined"} {
		t.Run(format, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "access.log")
			_, reg := byHand(t, "web", "ingress.host=web.example.org")
			_, address := serveStatic(t, []nomad.Registration{reg}, "--access-log="+file, "--access-log-format="+format)
			for i, c := range refusedHeads {
				answer := sendBytes(t, address, crlf(c.send))
				_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
				line := accessLine(t, file, i)
				if format == "combined" {
					if !strings.Contains(line, c.combined) {
						t.Errorf("%s: the line %q lacks %q", c.name, line, c.combined)
					}
					continue
				}
				var got struct {
					Path, Protocol string
					BytesOut       int `json:"bytes_out"`
				}
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatal(err)
				}
				if strings.TrimSuffix(got.Path, "...") != c.path || got.Protocol != c.protocol || got.BytesOut != len(body) {
					t.Errorf("%s: path %.40q, protocol %q and %d bytes, want %.40q, %q and %d", c.name, got.Path, got.Protocol, got.BytesOut, c.path, c.protocol, len(body))
				}
			}
		})
	}
}

func TestRefusedHeadsInTheLogOverHTTP2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	_, reg := byHand(t, "web", "ingress.host=web.example.org")
	_, address := serveStatic(t, []nomad.Registration{reg}, "--access-log="+file)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(long))
	p := testhttp2.NewPeer(conn, "web.example.org")
	block := p.Block(":method", "GET", ":scheme", "http", ":authority", "a b", ":path", "/p")
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	sent := 0
	for ended := false; !ended; {
		f, err := p.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			sent += len(f.Data())
			ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			ended = true
		}
	}
	var got struct {
		Protocol string
		BytesOut int `json:"bytes_out"`
	}
	if err := json.Unmarshal([]byte(accessLine(t, file, 0)), &got); err != nil {
		t.Fatal(err)
	}
	if sent == 0 || got.BytesOut != sent || got.Protocol != "HTTP/2.0" {
		t.Errorf("%d bytes and protocol %q are logged, %d were sent", got.BytesOut, got.Protocol, sent)
	}
}

// accessLine waits for a line of the access log, counted from 0, that is no probe's.
func accessLine(t *testing.T, file string, n int) (line string) {
	t.Helper()
	until(t, "a line of the access log", func() bool {
		text, _ := os.ReadFile(file)
		lines := strings.SplitAfter(string(text), "\n")
		if len(lines) <= n || !strings.HasSuffix(lines[n], "\n") {
			return false
		}
		line = lines[n]
		return true
	})
	return line
}

// sendBytes sends as sent, and returns what comes up to the end of the connection.
func sendBytes(t *testing.T, address, send string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(long))
	io.WriteString(conn, send)
	answer, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return answer
}
