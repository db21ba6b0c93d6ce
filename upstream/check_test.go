package upstream_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/upstream"
)

// checked is an instance that answers each check with the same bytes.
type checked struct {
	address  string
	mu       sync.Mutex
	requests []string // up to the empty line
}

func newChecked(t *testing.T, answer string) *checked {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &checked{address: l.Addr().String()}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				var head strings.Builder
				for !strings.HasSuffix(head.String(), "\r\n\r\n") {
					line, err := r.ReadString('\n')
					if head.WriteString(line); err != nil {
						break
					}
				}
				io.WriteString(c, answer)
				i.mu.Lock()
				defer i.mu.Unlock()
				i.requests = append(i.requests, head.String())
			})
		}
	})
	return i
}

// first returns the first request.
func (i *checked) first(t *testing.T) string {
	t.Helper()
	var first string
	await(t, "a check", func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		if len(i.requests) > 0 {
			first = i.requests[0]
		}
		return first != ""
	})
	return first
}

func check(path string) upstream.Check {
	return upstream.Check{Path: path, Interval: time.Hour, Timeout: long, StatusMin: 200, StatusMax: 399}
}

// TestCheckIsSentAsWritten: serai does not interpret the path.
func TestCheckIsSentAsWritten(t *testing.T) {
	for _, path := range []string{"/", "/a%2Fb", "//h", "/a/../b", "/a//b/./c?x=%20&y=/../", "/%7Euser"} {
		i := newChecked(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		r := run(t, upstream.RegistryOptions{})
		e := r.Acquire(upstream.Target{Address: i.address, Instance: "a", Check: check(path)})
		defer r.Release(e)
		request := i.first(t)
		if line, _, _ := strings.Cut(request, "\r\n"); line != "GET "+path+" HTTP/1.1" {
			t.Errorf("check=%s is sent as %q", path, line)
		}
		if !strings.Contains(request, "\r\nHost: "+i.address+"\r\n") {
			t.Errorf("without a host the check is sent as %q", request)
		}
	}
}

// TestStatusDecides: only the status of an answer to a check counts, whatever follows
// it.
func TestStatusDecides(t *testing.T) {
	const large = 3 << 20
	for name, c := range map[string]struct {
		answer string
		good   bool
	}{
		"empty":                {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
		"a large page":         {"HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n" + strings.Repeat("x", large), true},
		"a page without end":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true},
		"HTTP/1.0":             {"HTTP/1.0 204 No Content\r\n\r\n", true},
		"an interim answer":    {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true},
		"another status":       {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false},
		"interim answers only": {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100), false},
		"no HTTP":              {"220 mail.example.org ESMTP\r\n", false},
		"a head without end":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", large), false},
	} {
		t.Run(name, func(t *testing.T) {
			i := newChecked(t, c.answer)
			r := run(t, upstream.RegistryOptions{})
			e := r.Acquire(upstream.Target{Address: i.address, Instance: "a", Check: check("/")})
			defer r.Release(e)
			await(t, "a verdict", func() bool { return e.State() == upstream.Ready || e.Status().Cause != "" })
			if ready := e.State() == upstream.Ready; ready != c.good {
				t.Errorf("ready: %v, because %q", ready, e.Status().Cause)
			}
			if name == "a head without end" && !strings.Contains(e.Status().Cause, "head-too-large") {
				t.Errorf("the cause is %q", e.Status().Cause)
			}
		})
	}
}
