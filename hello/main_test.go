package hello_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/hello"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp keeps these for a while, or for good.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// bound is how long a test waits for what must happen.
const bound = 20 * time.Second

// running is a service under test.
type running struct {
	address string
	url     string
	cancel  context.CancelFunc
	ended   chan error
	client  *http.Client
}

// start runs the service until the test ends, when it must end in order.
func start(t *testing.T, timeout time.Duration) *running {
	t.Helper()
	return startWith(t, hello.Options{ShutdownTimeout: timeout})
}

func startWith(t *testing.T, o hello.Options) *running {
	t.Helper()
	o.Name, o.Alloc, o.Node = "whoami", "a1", "n1"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{}
	s := &running{
		address: l.Addr().String(), url: "http://" + l.Addr().String(), cancel: cancel, ended: make(chan error, 1),
		client: &http.Client{Transport: transport, Timeout: bound},
	}
	go func() {
		s.ended <- hello.Serve(ctx, l, o)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.stop(t); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// stop ends the service and returns what Serve returned; nil from then on.
func (s *running) stop(t *testing.T) error {
	t.Helper()
	s.cancel()
	select {
	case err := <-s.ended:
		s.ended <- nil
		return err
	case <-time.After(bound):
		t.Fatal("the service does not end")
		return nil
	}
}

// get returns status and body.
func (s *running) get(t *testing.T, path string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	a, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(body)
}

// dial connects and sends text as it stands.
func (s *running) dial(t *testing.T, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(bound))
	send(t, c, text)
	return c, bufio.NewReader(c)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer; its body is closed with the test.
func answer(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
	return a
}
