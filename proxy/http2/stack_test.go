package http2_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"serai/discovery"
	"serai/front"
	"serai/internal/memory"
	"serai/internal/testhttp2"
	"serai/proxy"
	"serai/proxy/http1"
	engine "serai/proxy/http2"
	"serai/router"
	"serai/upstream"
	instances "serai/upstream/http1"
	instances2 "serai/upstream/http2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// stack is the data path on a socket, with one instance.
type stack struct {
	t       testing.TB
	address string
	engine  *engine.Engine
	proxy   *proxy.Proxy
	server  *front.Server
	stop    func()

	builder  *router.Builder
	registry *upstream.Registry
	index    uint64
}

// newStack has an instance that answers with h.
func newStack(t testing.TB, o engine.Options, h http.HandlerFunc) *stack {
	t.Helper()
	return newStackWithin(t, nil, o, h)
}

// newStackWithin is newStack where clients have so much memory.
func newStackWithin(t testing.TB, b *memory.Budget, o engine.Options, h http.HandlerFunc) *stack {
	t.Helper()
	return newStackFor(t, front.NewClients(b, 0), o, h)
}

// newStackFor is newStack for these clients.
func newStackFor(t testing.TB, c *front.Clients, o engine.Options, h http.HandlerFunc) *stack {
	t.Helper()
	return newStackOf(t, c, o, func(e *engine.Engine) front.Engine { return e }, h)
}

// newStackOf is newStackFor with an engine made of the one for HTTP/2.
func newStackOf(t testing.TB, clients *front.Clients, o engine.Options, of func(*engine.Engine) front.Engine, h http.HandlerFunc) *stack {
	t.Helper()
	web := httptest.NewServer(h)
	streams := instances2.New(instances2.Options{})
	registry := upstream.NewRegistry(upstream.RegistryOptions{Transport: func(e *upstream.Endpoint, kept upstream.Keeping) upstream.Transport {
		if e.Target().Scheme.HTTP2() {
			return streams(e, kept)
		}
		return instances.New(e, kept)
	}})
	table := router.NewRouter()
	builder, err := router.NewBuilder(table, router.Options{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.New(proxy.Options{Router: table})
	if err != nil {
		t.Fatal(err)
	}
	e1, err := http1.NewEngine(p, http1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e2, err := engine.NewEngine(p, o)
	if err != nil {
		t.Fatal(err)
	}
	server, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": e1, front.HTTP2: of(e2)}, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &stack{t: t, address: l.Addr().String(), engine: e2, proxy: p, server: server}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	running.Go(func() { server.Serve(ctx, l) })
	k.stop = sync.OnceFunc(func() {
		cut, end := context.WithCancel(context.Background())
		end()
		server.Shutdown(cut)
		builder.Close()
		cancel()
		running.Wait()
		web.CloseClientConnections()
		web.Close()
	})
	t.Cleanup(k.stop)
	k.builder, k.registry = builder, registry
	k.point(web.Listener.Addr().String())
	return k
}

// point makes an address the only instance. Tags are those of the service beside its
// host.
func (k *stack) point(address string, tags ...string) {
	k.t.Helper()
	k.index++
	key := discovery.Key{Namespace: "default", Name: "web"}
	a := netip.MustParseAddrPort(address)
	k.builder.Update(&discovery.Snapshot{Index: k.index, Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: address, Service: "web", Namespace: "default", Alloc: address, Address: a.Addr().String(), Port: int(a.Port()), Tags: append([]string{"ingress.host=a.test"}, tags...),
	}}}}})
	until(k.t, "a ready instance", func() bool {
		all := k.registry.All()
		return len(all) == 1 && all[0].State() == upstream.Ready
	})
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// peer is a client with the library's codec.
type peer struct {
	*testhttp2.Peer
	t testing.TB
	c net.Conn
	f *http2.Framer
}

func (k *stack) dial(settings ...http2.Setting) *peer {
	k.t.Helper()
	return k.dialFrom("127.0.0.1", settings...)
}

// dialFrom is dial by another client.
func (k *stack) dialFrom(address string, settings ...http2.Setting) *peer {
	k.t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := from.Dial("tcp", k.address)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	p := testhttp2.NewPeer(c, "a.test", settings...)
	return &peer{p, k.t, c, p.Framer}
}

func (p *peer) fields(path string, more ...string) []byte { return p.Fields(path, more...) }
func (p *peer) get(id uint32, path string) error          { return p.Get(id, path) }
func (p *peer) post(id uint32, path string, more ...string) error {
	return p.Post(id, path, more...)
}

// open opens a stream that ends with its head, in as many frames as that needs.
func (p *peer) open(id uint32, block []byte) {
	block = bytes.Clone(block)
	first := block[:min(len(block), 16000)]
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(first) == len(block), EndStream: true})
	for block = block[len(first):]; len(block) > 0; {
		n := min(len(block), 16000)
		p.f.WriteContinuation(id, n == len(block), block[:n])
		block = block[n:]
	}
}

// answer reads the answer to a stream.
func (p *peer) answer(id uint32) (status, body string, code http2.ErrCode, whole bool) {
	p.t.Helper()
	a, err := p.Answer(id)
	if err != nil {
		p.t.Fatalf("read a frame: %v", err)
	}
	return a.Status, a.Body, a.Code, a.Whole
}

// goAway reads up to the end of the connection.
func (p *peer) goAway() (code http2.ErrCode, detail string) {
	p.t.Helper()
	code, detail, err := p.End()
	if err != nil {
		p.t.Error("the connection goes on")
	}
	return code, detail
}

// answers holds the stack to answering others.
func (k *stack) answers() {
	k.t.Helper()
	p := k.dial()
	p.get(1, "/")
	if status, body, _, whole := p.answer(1); status != "200" || !whole {
		k.t.Errorf("another client is answered %s %q", status, body)
	}
}
