package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/discovery"
	"serai/front"
	"serai/internal/coding"
	"serai/proxy"
	engine1 "serai/proxy/http1"
	"serai/router"
	"serai/upstream"
	"serai/upstream/http1"
)

// long bounds every wait of these tests; nothing takes nearly as long.
const long = 60 * time.Second

const host = "a.test"

// engine is a way for requests to reach the proxy.
type engine interface {
	open(t *testing.T, r request) client
}

// request is what a client asks. Body is what it sends of the body at once. Length
// is the whole's: 0 for none, -1 when it is not told.
type request struct {
	method, target string
	fields         []string
	length         int
	body           string
	upgrade        string
}

// client is one exchange as its client sees it.
type client interface {
	send(s string)             // more of the body, or of a tunnel
	finish(trailers ...string) // the body, or the sending side of a tunnel
	cut()                      // ends in the middle of the body
	leave()
	head() *head // the next one, interim or final; nil when there is none
	read(want string)
	rest() (body string, trailers []string, whole bool)
}

type head struct {
	status int
	fields http.Header
}

// node is a proxy with one service.
type node struct {
	proxy    *proxy.Proxy
	router   *router.Router
	registry *upstream.Registry
	encoders *coding.Encoders
	clients  *front.Clients // nil for a memory without end
	stop     func()
}

// newNode has a service at addresses, and stops with the test.
func newNode(t *testing.T, o proxy.Options, ro upstream.RegistryOptions, addresses []string, tags ...string) *node {
	t.Helper()
	return newNodeWithin(t, coding.NewEncoders(0), o, ro, addresses, tags...)
}

// newNodeWithin is newNode with encoders of its own.
func newNodeWithin(t *testing.T, encoders *coding.Encoders, o proxy.Options, ro upstream.RegistryOptions, addresses []string, tags ...string) *node {
	t.Helper()
	n := &node{registry: upstream.NewRegistry(ro), router: router.NewRouter(), encoders: encoders}
	builder, err := router.NewBuilder(n.router, router.Options{Registry: n.registry, Encoders: encoders})
	if err != nil {
		t.Fatal(err)
	}
	o.Router = n.router
	if n.proxy, err = proxy.New(o); err != nil {
		t.Fatal(err)
	}
	key := discovery.Key{Namespace: "default", Name: "web"}
	s := &discovery.Service{Key: key}
	for _, address := range addresses {
		a := netip.MustParseAddrPort(address)
		s.Instances = append(s.Instances, &discovery.Instance{ID: address, Service: "web", Namespace: "default", Alloc: address,
			Address: a.Addr().String(), Port: int(a.Port()), Tags: append([]string{"ingress.host=" + host}, tags...)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.registry.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		builder.Close()
		cancel()
		running.Wait()
	})
	t.Cleanup(n.stop)
	builder.Update(&discovery.Snapshot{Index: 1, Services: map[discovery.Key]*discovery.Service{key: s}})
	until(t, "ready instances", func() bool {
		return !slices.ContainsFunc(n.registry.All(), func(e *upstream.Endpoint) bool { return e.State() != upstream.Ready })
	})
	return n
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// engines run the same requests through each engine there is.
var engines = map[string]func(*testing.T, *node) engine{
	"HTTP/1": func(t *testing.T, n *node) engine { return listen1(t, n) },
	"HTTP/2": func(t *testing.T, n *node) engine { return listen2(t, n) },
	"memory": func(_ *testing.T, n *node) engine { return &memory{proxy: n.proxy} },
}

// overHTTP1 is the HTTP/1 engine behind a socket.
type overHTTP1 struct{ address string }

func listen1(t *testing.T, n *node) overHTTP1 {
	t.Helper()
	e, err := engine1.NewEngine(n.proxy, engine1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": e}, Clients: n.clients})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(context.Background(), l) })
	t.Cleanup(func() {
		cut, end := context.WithCancel(context.Background())
		end()
		server.Shutdown(cut)
		serving.Wait()
	})
	return overHTTP1{l.Addr().String()}
}

// client1 is a client with a connection of its own.
type client1 struct {
	t       *testing.T
	c       *net.TCPConn
	r       *bufio.Reader
	request request
	answer  *http.Response
	in      io.Reader // the answer's body, or the tunnel
}

func (e overHTTP1) open(t *testing.T, r request) client {
	t.Helper()
	c, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	lines := append([]string{r.method + " " + r.target + " HTTP/1.1", "Host: " + host}, r.fields...)
	connection := []string{}
	if r.upgrade != "" {
		lines, connection = append(lines, "Upgrade: "+r.upgrade), append(connection, "Upgrade")
	}
	if slices.Contains(r.fields, "TE: trailers") {
		connection = append(connection, "TE")
	}
	switch {
	case r.length > 0:
		lines = append(lines, fmt.Sprint("Content-Length: ", r.length))
	case r.length < 0:
		lines = append(lines, "Transfer-Encoding: chunked")
	}
	if len(connection) > 0 {
		lines = append(lines, "Connection: "+strings.Join(connection, ", "))
	}
	k := &client1{t: t, c: c.(*net.TCPConn), r: bufio.NewReader(c), request: r}
	k.write(strings.Join(lines, "\r\n") + "\r\n\r\n" + k.framed(r.body))
	return k
}

func (k *client1) write(s string) {
	k.t.Helper()
	if _, err := io.WriteString(k.c, s); err != nil {
		k.t.Fatalf("write: %v", err)
	}
}

func (k *client1) framed(s string) string {
	if k.request.length >= 0 || s == "" || k.answer != nil {
		return s
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(s), s)
}

func (k *client1) send(s string) { k.t.Helper(); k.write(k.framed(s)) }

func (k *client1) finish(trailers ...string) {
	switch {
	case k.answer != nil:
		k.c.CloseWrite()
	case k.request.length < 0:
		k.write("0\r\n" + strings.Join(append(trailers, "", ""), "\r\n"))
	}
}

func (k *client1) cut()   { k.c.CloseWrite() }
func (k *client1) leave() { k.c.Close() }

func (k *client1) head() *head {
	k.t.Helper()
	a, err := http.ReadResponse(k.r, &http.Request{Method: k.request.method})
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		return nil
	}
	if err != nil {
		k.t.Fatalf("read a head: %v", err)
	}
	switch k.in = a.Body; {
	case a.StatusCode == 101:
		k.answer, k.in = a, k.r
	case a.StatusCode >= 200:
		k.answer = a
	}
	return &head{a.StatusCode, a.Header}
}

func (k *client1) read(want string) {
	k.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(k.in, got); err != nil || string(got) != want {
		k.t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

func (k *client1) rest() (body string, trailers []string, whole bool) {
	all, err := io.ReadAll(k.in)
	for name, values := range k.answer.Trailer {
		trailers = append(trailers, name+": "+values[0])
	}
	return string(all), trailers, err == nil
}

// speaksHTTP1 is a registry's options.
func speaksHTTP1() upstream.RegistryOptions { return upstream.RegistryOptions{Transport: http1.New} }
