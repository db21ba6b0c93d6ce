package nomad_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// testTimeout ends tests that would hang. Nothing asserts how long things take.
const testTimeout = 30 * time.Second

// secret is the token of every request here. It must not appear in any error.
const secret = "8f1c2f6e-secret-0123456789abcdef"

// kinds are all kinds that errors.Is can find in an error of the package.
var kinds = []error{
	nomad.ErrUnreachable, nomad.ErrTokenRefused, nomad.ErrForbidden, nomad.ErrNotFound, nomad.ErrConflict, nomad.ErrUnavailable,
	nomad.ErrBadAnswer, nomad.ErrUnaskable, nomad.ErrStreamRefused, nomad.ErrStreamSilent, nomad.ErrStreamEnded,
}

// check fails the test unless err is of this kind and no other (nil: of none), is one
// line of moderate length without the token, and contains all of says.
func check(t *testing.T, err, kind error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want %v", kind)
		return
	}
	for _, k := range kinds {
		if errors.Is(err, k) != (k == kind) {
			t.Errorf("%v\nis a %q: %v; want %v", err, k, errors.Is(err, k), kind)
		}
	}
	text := err.Error()
	if strings.Contains(text, secret) {
		t.Errorf("%s\nshows the token", text)
	}
	if strings.Contains(text, "\n") || len(text) > 1200 {
		t.Errorf("%.2000q\nis %d bytes long; want one line of at most 1200", text, len(text))
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("%s\ndoes not say %q", text, s)
		}
	}
}

// connect returns a client of o that sends the secret, with limits that suit
// tests.
func connect(t *testing.T, o nomad.Options) *nomad.Client {
	t.Helper()
	if o.Token == "" && o.TokenFile == "" {
		o.Token = secret
	}
	if o.Limits == (nomad.Limits{}) {
		o.Limits = nomad.Limits{Request: testTimeout, FirstLine: testTimeout, Heartbeat: testTimeout}
	}
	c, err := nomad.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// serve answers with h until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// simulate runs s until the test ends.
func simulate(t *testing.T, s *nomadsim.Sim) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + run(t, s, l)
}

// run serves s on l until the test ends and returns l's address.
func run(t *testing.T, s *nomadsim.Sim, l net.Listener) string {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return l.Addr().String()
}

// speak reads the head of a request on each connection, answers with these
// bytes, which need not be HTTP, and closes. A whole answer must say so: the
// client may send the next request to the connection that ends.
func speak(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				head := make([]byte, 0, 4096)
				for !strings.Contains(string(head), "\r\n\r\n") && len(head) < cap(head) {
					n, err := c.Read(head[len(head):cap(head)])
					if err != nil {
						return
					}
					head = head[:len(head)+n]
				}
				// It does not matter when the client has left.
				io.WriteString(c, answer)
				// Unread bytes would destroy the answer, because they cause a reset of
				// the connection.
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String()
}
