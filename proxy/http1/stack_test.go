package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/discovery"
	"serai/front"
	"serai/policy"
	"serai/proxy"
	"serai/proxy/http1"
	"serai/router"
	"serai/upstream"
	instances "serai/upstream/http1"
	"serai/wire/socket"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// stack is the data path on a socket: server, proxy, table, endpoints.
type stack struct {
	t        *testing.T
	address  string
	server   *front.Server
	proxy    *proxy.Proxy
	builder  *router.Builder
	router   *router.Router
	registry *upstream.Registry
	known    map[discovery.Key]*discovery.Service
	index    uint64
	stop     func()
}

type settings struct {
	server http1.Options
	front  front.Options
	proxy  proxy.Options
	linger time.Duration
	// catalog is the operator's, nil for none.
	catalog *policy.Catalog
	// registry has what all endpoints have in common.
	registry upstream.RegistryOptions
	// wrap changes the listener.
	wrap func(net.Listener) net.Listener
}

// newStack runs a data path without routes.
func newStack(t *testing.T, s settings) *stack {
	t.Helper()
	s.registry.Transport = instances.New
	if s.registry.IdleTimeout == 0 {
		s.registry.IdleTimeout = long // a test that stands still for a while still finds its connection
	}
	registry := upstream.NewRegistry(s.registry)
	table := router.NewRouter()
	builder, err := router.NewBuilder(table, router.Options{Registry: registry, Linger: s.linger, Catalog: s.catalog})
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.Router = table
	p, err := proxy.New(s.proxy)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := http1.NewEngine(p, s.server)
	if err != nil {
		t.Fatal(err)
	}
	s.front.Engines = map[string]front.Engine{"": engine, "http/1.1": engine}
	s.front.HandshakeTimeout, s.front.WriteIdle = s.server.HeadTimeout, s.server.WriteIdle
	s.front.Count, s.front.Logger = p.Count, s.proxy.Logger
	server, err := front.NewServer(s.front)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &stack{t: t, address: l.Addr().String(), server: server, proxy: p, builder: builder, router: table, registry: registry, known: make(map[discovery.Key]*discovery.Service), index: 1}
	if s.wrap != nil {
		l = s.wrap(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	var once sync.Once
	k.stop = func() {
		once.Do(func() {
			last, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer end()
			server.Shutdown(last)
			builder.Close()
			cancel()
			running.Wait()
		})
	}
	t.Cleanup(k.stop)
	return k
}

// service makes addresses the instances of a service, each with those tags.
func (k *stack) service(name string, addresses []string, tags ...string) {
	k.t.Helper()
	k.index++
	key := discovery.Key{Namespace: "default", Name: name}
	s := &discovery.Service{Key: key}
	for _, address := range addresses {
		a := netip.MustParseAddrPort(address)
		s.Instances = append(s.Instances, &discovery.Instance{
			ID: name + "-" + address, Service: name, Namespace: "default", Alloc: name + "-" + address, Job: name,
			Tags: tags, Address: a.Addr().String(), Port: int(a.Port()), Created: k.index, Modified: k.index,
		})
	}
	k.known[key] = s
	if len(addresses) == 0 {
		delete(k.known, key)
	}
	k.builder.Update(&discovery.Snapshot{Services: k.known, Index: k.index})
}

// awaitReady waits until every instance is ready: as long as one of them is the
// only one, all requests go there.
func (k *stack) awaitReady() {
	k.t.Helper()
	until(k.t, "ready instances", func() bool {
		return !slices.ContainsFunc(k.registry.All(), func(e *upstream.Endpoint) bool { return e.State() != upstream.Ready })
	})
}

// states are those of all instances.
func (k *stack) states() (all []upstream.EndpointStatus) {
	for _, e := range k.registry.All() {
		all = append(all, e.Status())
	}
	return all
}

// origin is an instance that a test writes by hand.
type origin struct {
	t       *testing.T
	address string
	port    net.Listener
	conns   chan *peer // that bring a first byte
}

// peer is one end of a connection in the hands of a test.
type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// newOrigin listens. Connections without a byte are probes and are not given
// to the test.
func newOrigin(t *testing.T) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, address: l.Addr().String(), port: l, conns: make(chan *peer, 64)}
	var running sync.WaitGroup
	ended := make(chan struct{})
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				p := &peer{t, c, bufio.NewReader(c)}
				if _, err := p.r.Peek(1); err != nil {
					c.Close()
					return
				}
				select {
				case o.conns <- p:
				case <-ended:
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(ended)
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
		close(o.conns)
	})
	return o
}

// next returns the next connection that brings a byte.
func (o *origin) next() *peer {
	o.t.Helper()
	select {
	case p := <-o.conns:
		p.SetDeadline(time.Now().Add(long))
		return p
	case <-time.After(long):
		o.t.Fatal("no request reached the origin")
		return nil
	}
}

// dial connects to the stack.
func (k *stack) dial() *peer {
	k.t.Helper()
	c, err := net.Dial("tcp", k.address)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return &peer{k.t, c, bufio.NewReader(c)}
}

// send writes lines, each ended by CRLF.
func (p *peer) send(lines ...string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// write writes bytes.
func (p *peer) write(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// head reads up to an empty line.
func (p *peer) head() string {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("read a head: %v, after %q", err, b.String()+line)
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String()
		}
	}
}

// read reads exactly what is wanted.
func (p *peer) read(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
		p.t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

// ended reads the end of the connection.
func (p *peer) ended() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		p.t.Fatalf("the connection ended with %q, %v", rest, err)
	}
}

// answer reads a whole answer.
func (p *peer) answer(method string) (*http.Response, string) {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("read an answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatalf("read an answer's body: %v, after %d bytes", err, len(body))
	}
	return res, string(body)
}

// status reads an answer and holds it to a status and a reason.
func (p *peer) status(method string, status int, reason string) string {
	p.t.Helper()
	res, body := p.answer(method)
	if res.StatusCode != status || res.Header.Get("X-Serai-Reason") != reason {
		p.t.Fatalf("answer %s, reason %q, body %q; want %d, %q", res.Status, res.Header.Get("X-Serai-Reason"), body, status, reason)
	}
	return body
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// inTime tries what a busy machine spoils by being late, until it succeeds once:
// were serai late, it would be so each time.
func inTime(t *testing.T, try func() error) {
	t.Helper()
	for end := time.Now().Add(long); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		t.Logf("again: %v", err)
	}
}

// has reports whether a head has a field line.
func has(head, line string) bool { return strings.Contains(head, "\r\n"+line+"\r\n") }

// overTLS makes a listener speak TLS, with a certificate that nobody trusts.
func overTLS(t *testing.T) func(net.Listener) net.Listener {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	config := &tls.Config{Certificates: s.TLS.Certificates}
	return func(l net.Listener) net.Listener { return socket.NewTLSListener(l, config) }
}

func tlsClient(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) }
