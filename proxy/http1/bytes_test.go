package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "what TestEveryByte draws its pipelines from; 0 for another one each time")

// TestBytesBehindALargeBody: a large body makes the client's buffer a huge one.
// What comes behind it, other bodies and many requests, is not to be lost when
// a buffer of another size takes its place.
func TestBytesBehindALargeBody(t *testing.T) {
	for i := range 4 {
		// How much is behind the body when it ends is to differ.
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d chunked=%v", i, chunked), func(t *testing.T) {
				p := &pipeline{}
				p.add(spec{method: "POST", size: 3_000_000 + i*70_000, chunked: chunked, answer: 2, slow: true})
				p.add(spec{method: "POST", size: 300_000, chunked: chunked, answer: 2})
				for range 5000 {
					p.add(spec{method: "DELETE", answer: 2})
				}
				runPipelines(t, p)
			})
		}
	}
}

// TestTunnelBehindALargeBody: the same for what a client sends behind a request
// for another protocol.
func TestTunnelBehindALargeBody(t *testing.T) {
	for i := range 4 {
		p := &pipeline{}
		p.add(spec{method: "POST", size: 3_000_000 + i*70_000, answer: 2, slow: true})
		p.add(spec{method: "GET", upgrade: true, tunnel: 500_000})
		runPipelines(t, p)
	}
}

// TestEveryByte compares, on both sides, each byte of random pipelines of
// requests of all framings and sizes, written in random pieces.
func TestEveryByte(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test ./proxy/http1 -run TestEveryByte -seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		var some []*pipeline
		for range 4 {
			some = append(some, newPipeline(r))
		}
		runPipelines(t, some...)
	}
}

func FuzzEveryByte(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { runPipelines(t, newPipeline(rand.New(rand.NewPCG(seed, 0)))) })
}

// spec is one request and its answer.
type spec struct {
	method      string
	size        int // of the body
	chunked     bool
	framed      bool // with a Content-Length, even of 0
	upgrade     bool
	tunnel      int // bytes that the client sends behind an upgrade, all of them echoed
	answer      int // size of the answer's body
	answerChunk bool
	answerEnd   bool // the end of the instance's connection is the answer's
	interim     bool
	slow        bool // the instance reads late, so that what is behind waits in the client's socket

	path string
	seen int
}

// pipeline is what one connection carries.
type pipeline struct {
	requests []*spec
	pieces   *rand.Rand // of which sizes it is written; nil for one piece
	mu       sync.Mutex // of seen
}

func (p *pipeline) add(s spec) { p.requests = append(p.requests, &s) }

func newPipeline(r *rand.Rand) *pipeline {
	sizes := [...]int{0, 1, 10, 100, 3000, 9000, 70000, 300000, 1500000}
	size := func() int { return r.IntN(sizes[r.IntN(len(sizes))] + 1) }
	p := &pipeline{}
	if r.IntN(4) > 0 {
		p.pieces = rand.New(rand.NewPCG(r.Uint64(), 1))
	}
	methods := [...]string{"GET", "POST", "PUT", "DELETE", "PATCH"}
	for range 1 + r.IntN(30) {
		s := spec{method: methods[r.IntN(len(methods))], answer: size(), answerChunk: r.IntN(3) == 0, answerEnd: r.IntN(8) == 0, interim: r.IntN(8) == 0, slow: r.IntN(16) == 0}
		if s.method != "GET" {
			s.size, s.chunked, s.framed = size(), r.IntN(2) == 0, true
		}
		p.add(s)
	}
	if r.IntN(2) == 0 {
		s := spec{method: "GET", upgrade: true, tunnel: size()}
		if r.IntN(2) == 0 {
			s.method, s.size, s.chunked, s.framed = "POST", size(), r.IntN(2) == 0, true
		}
		p.add(s)
	}
	return p
}

// runPipelines runs each pipeline over a connection of its own, at one origin.
func runPipelines(t *testing.T, pipelines ...*pipeline) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var origin sync.WaitGroup
	specs := make(map[string]*spec)
	owner := make(map[*spec]*pipeline)
	for i, p := range pipelines {
		for j, s := range p.requests {
			s.path = fmt.Sprintf("/%d/%d", i, j)
			specs[s.path], owner[s] = s, p
		}
	}
	origin.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			origin.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(2 * long))
				for r := bufio.NewReader(c); ; {
					again, err := answerSpec(c, r, func(path string) *spec {
						s := specs[path]
						if s != nil {
							owner[s].mu.Lock()
							s.seen++
							owner[s].mu.Unlock()
						}
						return s
					})
					if err != nil {
						t.Errorf("at the instance: %v", err)
					}
					if !again || err != nil {
						return
					}
				}
			})
		}
	})
	defer origin.Wait()
	k := newStack(t, settings{})
	defer k.stop() // its idle connections keep the origin waiting
	defer l.Close()
	k.service("web", []string{l.Addr().String()}, "ingress.host=web.example.org")
	k.awaitReady()
	var clients sync.WaitGroup
	for _, p := range pipelines {
		c := k.dial()
		c.SetDeadline(time.Now().Add(2 * long))
		clients.Go(func() { p.run(t, c) })
	}
	clients.Wait()
	for _, s := range specs {
		if s.seen != 1 {
			t.Errorf("the instance saw %s %s %d times", s.method, s.path, s.seen)
			return
		}
	}
}

// content is the bytes of a body, which its path decides.
func content(path, what string, n int) []byte {
	var key [32]byte
	copy(key[:], path+what)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// appendTo appends the request as the client sends it.
func (s *spec) appendTo(b []byte) []byte {
	b = fmt.Appendf(b, "%s %s HTTP/1.1\r\nHost: web.example.org\r\n", s.method, s.path)
	if s.upgrade {
		b = append(b, "Connection: Upgrade\r\nUpgrade: echo\r\n"...)
	}
	body := content(s.path, "body", s.size)
	switch {
	case s.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		for step := 1; len(body) > 0; step = step*7%40000 + 1 {
			n := min(step, len(body))
			b = fmt.Appendf(b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		b = append(b, "0\r\n\r\n"...)
	case s.framed || s.size > 0:
		b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", s.size, body)
	default:
		b = append(b, "\r\n"...)
	}
	return append(b, content(s.path, "tunnel", s.tunnel)...)
}

// run sends the pipeline, and holds the answers to what they should be.
func (p *pipeline) run(t *testing.T, c *peer) {
	var raw []byte
	for _, s := range p.requests {
		raw = s.appendTo(raw)
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer c.Close()
	writing.Go(func() {
		for len(raw) > 0 {
			n := len(raw)
			if p.pieces != nil {
				n = min(n, 1+p.pieces.IntN(1<<p.pieces.IntN(18)))
				if p.pieces.IntN(16) == 0 {
					time.Sleep(time.Duration(p.pieces.IntN(1000)) * time.Microsecond)
				}
			}
			if _, err := c.Write(raw[:n]); err != nil {
				return // the reader tells
			}
			raw = raw[n:]
		}
	})
	for _, s := range p.requests {
		status, what, size := http.StatusOK, "answer", s.answer
		res, err := http.ReadResponse(c.r, &http.Request{Method: s.method})
		for err == nil && res.StatusCode == http.StatusEarlyHints {
			res, err = http.ReadResponse(c.r, &http.Request{Method: s.method})
		}
		if err != nil {
			t.Errorf("answer to %s %s: %v", s.method, s.path, err)
			return
		}
		from := io.Reader(res.Body)
		if s.upgrade {
			status, what, size = http.StatusSwitchingProtocols, "tunnel", s.tunnel
			from = io.LimitReader(c.r, int64(size))
		}
		body, err := io.ReadAll(from)
		if res.StatusCode != status || err != nil {
			t.Errorf("answer to %s %s: %s, %v, %.200q", s.method, s.path, res.Status, err, body)
			return
		}
		if err := same(body, content(s.path, what, size)); err != nil {
			t.Errorf("%s of %s %s: %v", what, s.method, s.path, err)
			return
		}
	}
}

func same(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("%d bytes, wrong from byte %d on, want %d", len(got), at, len(want))
}

// answerSpec reads one request with net/http, compares it, and answers it.
func answerSpec(c net.Conn, r *bufio.Reader, find func(string) *spec) (again bool, err error) {
	if _, err := r.Peek(1); err != nil {
		return false, nil // a probe, or the end
	}
	q, err := http.ReadRequest(r)
	if err != nil {
		return false, err
	}
	s := find(q.URL.Path)
	if s == nil || s.method != q.Method {
		return false, fmt.Errorf("%s %s, which nobody sent", q.Method, q.URL)
	}
	if s.slow {
		time.Sleep(100 * time.Millisecond)
	}
	body, err := io.ReadAll(q.Body)
	if err == nil {
		err = same(body, content(s.path, "body", s.size))
	}
	if err != nil {
		return false, fmt.Errorf("body of %s %s: %w", s.method, s.path, err)
	}
	if s.upgrade {
		if !strings.EqualFold(q.Header.Get("Upgrade"), "echo") {
			return false, errors.New("an upgrade went on as a plain request")
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, err := io.CopyN(c, r, int64(s.tunnel))
		return false, err
	}
	out := bufio.NewWriterSize(c, 20000)
	defer out.Flush()
	if s.interim {
		io.WriteString(out, "HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n")
	}
	answer := content(s.path, "answer", s.answer)
	switch {
	case s.answerChunk:
		io.WriteString(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for len(answer) > 0 {
			n := min(len(answer), 1+len(answer)*2/3)
			fmt.Fprintf(out, "%x\r\n%s\r\n", n, answer[:n])
			answer = answer[n:]
		}
		io.WriteString(out, "0\r\n\r\n")
	case s.answerEnd:
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", answer)
	default:
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", s.answer, answer)
	}
	return !s.answerEnd || s.answerChunk, nil
}
