package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/nomad"
)

// The raw cases of wire are sent over sockets here, each on a connection
// of its own. testdata/requests and testdata/responses have what came out at
// the other end, byte by byte.
const rawCases = "../../wire/testdata"

// TestRawRequests: of each request the origin sees exactly what it should, or
// nothing.
func TestRawRequests(t *testing.T) {
	o := newRecorder(t, func(r *http.Request) string {
		if r.Method == http.MethodHead {
			return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	})
	p, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=*")}, "--h2c=off")
	type sent struct {
		name, verdict string
		whole         int // messages
	}
	cases := make(map[string]sent) // by the client's address, which the origin is told
	eachRawCase(t, "requests", func(t *testing.T, raw []byte, _ map[string]string, verdict string) string {
		client := fmt.Sprintf("127.1.%d.%d", len(cases)/250, 1+len(cases)%250)
		c := sent{t.Name(), verdict, strings.Count(verdict, "\nbody ") - strings.Count(verdict, ", cut by ")}
		cases[client] = c
		var out strings.Builder
		for _, a := range answersTo(t, client, address, raw) {
			fmt.Fprintf(&out, "client %s\n", a)
		}
		seen := o.of(client)
		// How much the origin sees of what is cut depends on the moment. That it
		// has no end is shown below.
		for _, m := range seen[:min(c.whole, len(seen))] {
			fmt.Fprintf(&out, "origin\n%s", quoted(normal(m, client, address)))
		}
		return out.String()
	})

	// What wire refuses as the first message, nobody sees; what it takes,
	// another implementation takes for as many messages, and no more.
	p.stop()
	if err := p.wait(t); err != nil {
		t.Fatal(err)
	}
	o.close()
	for client, c := range cases {
		seen := o.of(client)
		if strings.HasPrefix(c.verdict, "message 1\nrefused") && seen != nil {
			t.Errorf("%s: the origin saw %q", c.name, seen)
		}
		for i, message := range seen {
			r := bufio.NewReader(bytes.NewReader(message))
			q, err := http.ReadRequest(r)
			if err == nil {
				_, err = io.Copy(io.Discard, q.Body)
			}
			if err != nil && strings.Contains(err.Error(), "invalid URL escape") {
				continue // a target is the origin's to read; net/http reads no further
			}
			if i < c.whole && (err != nil || r.Buffered() > 0) {
				t.Errorf("%s: message %d is to net/http: %v, %d bytes left over", c.name, i+1, err, r.Buffered())
			}
			if i >= c.whole && err == nil {
				t.Errorf("%s: message %d was cut, yet looks whole: %q", c.name, i+1, message)
			}
		}
		delete(o.messages, client)
	}
	if len(o.messages) > 0 {
		t.Errorf("the origin was sent what nobody sent: %q", o.messages)
	}
}

// TestRawResponses: of each response the client sees exactly what it should, or
// an answer of serai's own.
func TestRawResponses(t *testing.T) {
	var raw []byte // of the case under way
	o := newRecorder(t, func(*http.Request) string { return string(raw) })
	_, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=*", "ingress.retries=0")}, "--eject-after=0")
	eachRawCase(t, "responses", func(t *testing.T, response []byte, options map[string]string, verdict string) string {
		raw = response
		method := options["method"]
		if method == "" {
			method = "GET"
		}
		conn := dialFrom(t, "127.0.0.1", address)
		fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n", method)
		got, err := io.ReadAll(conn)
		// The next case is not to meet a connection that is about to be closed.
		o.closing.Wait()
		if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), &http.Request{Method: method})
		if err != nil {
			t.Errorf("no answer to net/http: %v: %q", err, got)
		} else if ours := res.Header.Get("X-Serai-Reason") != ""; ours != (strings.HasPrefix(verdict, "refused") || strings.HasPrefix(verdict, "101 ")) {
			// Nobody asked for another protocol.
			t.Errorf("the answer is serai's own: %v, the verdict %s", ours, verdict)
		}
		return quoted(normal(got, "127.0.0.1", address))
	})
}

// eachRawCase runs the cases of a directory, and compares what comes back.
func eachRawCase(t *testing.T, dir string, run func(t *testing.T, raw []byte, options map[string]string, verdict string) string) {
	files, err := filepath.Glob(filepath.Join(rawCases, dir, "*.txt"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d cases in %s, %v", len(files), dir, err)
	}
	if *update {
		if err := os.MkdirAll(filepath.Join("testdata", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, verdict, _ := strings.Cut(string(text), "---\n")
			raw, options := rawCase(t, input)
			got := run(t, raw, options, verdict)
			golden := filepath.Join("testdata", dir, filepath.Base(file))
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// rawCase reads a case as wire's own test does.
func rawCase(t *testing.T, input string) ([]byte, map[string]string) {
	var raw []byte
	options := make(map[string]string)
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] != '"' {
			key, value, _ := strings.Cut(line, ": ")
			options[key] = value
			continue
		}
		text, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatalf("line %s: %v", line, err)
		}
		times := 1
		if rest := line[len(text):]; rest != "" {
			if times, err = strconv.Atoi(strings.TrimPrefix(rest, "*")); err != nil {
				t.Fatalf("line %s: %v", line, err)
			}
		}
		s, err := strconv.Unquote(text)
		if err != nil {
			t.Fatalf("line %s: %v", line, err)
		}
		raw = append(raw, strings.Repeat(s, times)...)
	}
	return raw, options
}

// answersTo sends raw on one connection, and returns the status and reason of
// each final answer.
func answersTo(t *testing.T, client, address string, raw []byte) (answers []string) {
	conn := dialFrom(t, client, address)
	conn.Write(raw)
	conn.(*net.TCPConn).CloseWrite()
	from := bufio.NewReader(conn)
	head := &http.Request{Method: http.MethodHead}
	for {
		request := &http.Request{Method: http.MethodGet}
		if bytes.HasPrefix(raw, []byte("HEAD ")) {
			request = head
		}
		res, err := http.ReadResponse(from, request)
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Errorf("the connection does not end")
			}
			return answers
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("an answer is cut: %v", err)
		}
		answers = append(answers, strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Serai-Reason"))))
	}
}

var changing = regexp.MustCompile(`(?m)^(X-Request-Id|Date): .*\r$`)

// normal replaces what differs from run to run.
func normal(b []byte, client, address string) []byte {
	_, port, _ := net.SplitHostPort(address)
	b = bytes.ReplaceAll(b, []byte(client), []byte("CLIENT"))
	b = bytes.ReplaceAll(b, []byte("X-Forwarded-Port: "+port), []byte("X-Forwarded-Port: PORT"))
	b = bytes.ReplaceAll(b, []byte("X-Serai-Hops: 1\r\n"), nil) // every request has it
	return changing.ReplaceAll(b, []byte("$1: ...\r"))
}

// quoted writes bytes as quoted strings, a line each; long ones shortened.
func quoted(b []byte) string {
	var out strings.Builder
	for line := range bytes.Lines(b) {
		if n := len(line); n > 400 {
			fmt.Fprintf(&out, "%q... %d bytes ...%q\n", line[:40], n, line[n-40:])
			continue
		}
		fmt.Fprintf(&out, "%q\n", line)
	}
	return out.String()
}

// recorder is an origin that notes each byte it is sent.
type recorder struct {
	listener net.Listener
	answer   func(*http.Request) string
	running  sync.WaitGroup
	closing  sync.WaitGroup // connections that end with their answer

	mu       sync.Mutex
	messages map[string][][]byte // by X-Forwarded-For
}

func newRecorder(t *testing.T, answer func(*http.Request) string) *recorder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &recorder{listener: l, answer: answer, messages: make(map[string][][]byte)}
	t.Cleanup(o.close)
	o.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.running.Go(func() { o.serve(c) })
		}
	})
	return o
}

// close waits for the end of all connections.
func (o *recorder) close() {
	o.listener.Close()
	o.running.Wait()
}

func (o *recorder) registration(tags ...string) nomad.Registration {
	a := tcp(o.listener.Addr().String())
	return nomad.Registration{ServiceName: "web", Address: a.IP.String(), Port: a.Port, Tags: tags}
}

// of returns the messages for a client.
func (o *recorder) of(client string) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.messages[client]
}

var forwardedFor = regexp.MustCompile(`\r\nX-Forwarded-For: (\S+)\r\n`)

// serve notes messages and answers those that have an end.
func (o *recorder) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(long))
	notes := &notes{from: c}
	r := bufio.NewReader(notes)
	for {
		q, err := http.ReadRequest(r)
		if err == nil {
			_, err = io.Copy(io.Discard, q.Body)
		}
		if len(notes.seen) == 0 {
			return
		}
		client := ""
		if m := forwardedFor.FindSubmatch(notes.seen); m != nil {
			client = string(m[1])
		}
		o.mu.Lock()
		o.messages[client] = append(o.messages[client], notes.seen)
		o.mu.Unlock()
		notes.seen = nil
		if err != nil {
			return
		}
		answer := o.answer(q)
		if !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n") {
			o.closing.Add(1)
			defer o.closing.Done()
			io.WriteString(c, answer)
			c.Close()
			return
		}
		io.WriteString(c, answer)
	}
}

// notes keeps what is read.
type notes struct {
	from io.Reader
	seen []byte
}

func (n *notes) Read(p []byte) (int, error) {
	m, err := n.from.Read(p)
	n.seen = append(n.seen, p[:m]...)
	return m, err
}
