package front_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/front"
	"serai/wire/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// echoes is an engine that sends back what comes.
type echoes struct {
	opened atomic.Int64
	peer   atomic.Pointer[front.Peer] // of the last one
}

type echo struct{ c *front.Conn }

func (e *echoes) Open(c *front.Conn) front.Session {
	e.opened.Add(1)
	e.peer.Store(&c.Peer)
	return &echo{c}
}

func (e *echoes) Plaintext(first [5]byte) []byte {
	if string(first[:]) == "HELLO" {
		return []byte("speak TLS\n")
	}
	return nil
}

func (e *echo) Serve() front.Ending {
	for e.c.Socket.Fill() == nil {
		b := e.c.Socket.Buffered()
		if _, err := e.c.Socket.Write(b); err != nil {
			return front.AtOnce
		}
		e.c.Socket.Discard(len(b))
	}
	return front.AtOnce
}

func (e *echo) Drain()          { e.c.Socket.Interrupt() }
func (e *echo) Cut()            { go e.c.Socket.Close() }
func (e *echo) Check(time.Time) {}

// serve runs a server over TLS, and returns its address.
func serve(t *testing.T, o front.Options, protocols ...string) (*front.Server, string) {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	certs.Close()
	config := &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: protocols}
	return serveOver(t, o, func(l net.Listener) net.Listener { return socket.NewTLSListener(l, config) })
}

// serveOver runs a server over what is made of a listener, and returns its address.
func serveOver(t *testing.T, o front.Options, over func(net.Listener) net.Listener) (*front.Server, string) {
	t.Helper()
	s, err := front.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := front.Listen("127.0.0.1:0", false, long)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(context.Background(), over(l)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return c
}

// ask makes a handshake and has something sent back.
func ask(t *testing.T, address string, protocols ...string) error {
	t.Helper()
	c := tls.Client(dial(t, address), &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: protocols})
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestEngineByProtocol: ALPN chooses the engine, which learns who is there, and a
// protocol that is nobody's ends with its handshake.
func TestEngineByProtocol(t *testing.T) {
	other, a := &echoes{}, &echoes{}
	s, address := serve(t, front.Options{Engines: map[string]front.Engine{"": other, "a": a}}, "a", "acme-tls/1")
	for range 2 {
		if err := ask(t, address, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(t, address); err != nil {
		t.Fatal(err)
	}
	if n, m := a.opened.Load(), other.opened.Load(); n != 2 || m != 1 {
		t.Errorf("%d and %d connections, want 2 and 1", n, m)
	}
	if p := a.peer.Load(); !p.Secure || p.ServerName != "a.test" || p.Protocol != "a" || !p.Remote.IsValid() || p.Local.String() != address {
		t.Errorf("the engine is told %+v", p)
	}
	if err := ask(t, address, "acme-tls/1"); err == nil {
		t.Error("a protocol without an engine was answered")
	}
	c := dial(t, address)
	io.WriteString(c, "HELLO, who is there?")
	if b, _ := io.ReadAll(c); string(b) != "speak TLS\n" {
		t.Errorf("plain text was answered with %q", b)
	}
	until(t, "the end of all handshakes", func() bool { return s.Status().Handshakes == 0 })
	if st := s.Status(); st.HandshakesRefused != 0 {
		t.Errorf("%+v", st)
	}
}

// TestHandshakesAreBounded: clients that open connections and say nothing take
// no more places than there are, and not from those who come later: after two
// seconds they make room.
func TestHandshakesAreBounded(t *testing.T) {
	const limit = 8
	s, address := serve(t, front.Options{MaxHandshakes: limit, HandshakeTimeout: time.Hour, Engines: map[string]front.Engine{"": &echoes{}}})
	if err := ask(t, address); err != nil {
		t.Fatal(err)
	}
	for range limit {
		dial(t, address)
	}
	until(t, "all places to be taken", func() bool { return s.Status().Handshakes == limit })
	until(t, "a client that is served", func() bool {
		if n := s.Status().Handshakes; n > limit {
			t.Fatalf("%d handshakes at once, of %d", n, limit)
		}
		return ask(t, address) == nil
	})
	until(t, "the one that made room to end", func() bool { return s.Status().Conns < limit })
	if n := s.Status().HandshakesRefused; n == 0 {
		t.Error("none was refused")
	}
}

// TestHandshakesAreShared: one client that opens connections and says nothing takes no more
// than its share of the places from who comes later, however often it comes again.
func TestHandshakesAreShared(t *testing.T) {
	const limit = 8
	s, address := serve(t, front.Options{MaxHandshakes: limit, HandshakeTimeout: time.Hour, Engines: map[string]front.Engine{"": &echoes{}}})
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, 1)}}
	silent := func() {
		c, err := from.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	for range 20 {
		for s.Status().Handshakes < limit {
			before := s.Status()
			silent()
			until(t, "its count", func() bool { now := s.Status(); return now.Accepted > before.Accepted || now.Refused > before.Refused })
		}
		refused := s.Status().HandshakesRefused
		silent() // beyond its share
		until(t, "its refusal", func() bool { return s.Status().HandshakesRefused > refused })
		if err := ask(t, address); err != nil {
			t.Fatalf("another client: %v, with %+v", err, s.Status())
		}
	}
}

// TestDrainDuringHandshakes: a drain does not wait for a handshake that nobody
// goes on with.
func TestDrainDuringHandshakes(t *testing.T) {
	s, address := serve(t, front.Options{HandshakeTimeout: time.Hour, Engines: map[string]front.Engine{"": &echoes{}}})
	dial(t, address)
	until(t, "a handshake", func() bool { return s.Status().Handshakes == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestSlowHandshakesMakeRoom: clients of many addresses that open connections and say nothing
// take all places of connections. After two seconds they make room for who comes later.
func TestSlowHandshakesMakeRoom(t *testing.T) {
	const limit = 32
	s, address := serve(t, front.Options{MaxConns: limit, HandshakeTimeout: time.Hour, Engines: map[string]front.Engine{"": &echoes{}}})
	for open := 0; s.Status().Refused == 0; open++ {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(open+1))}}
		c, err := from.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		until(t, "its count", func() bool { st := s.Status(); return st.Conns > open || st.Refused > 0 })
	}
	until(t, "a client that is served", func() bool { return ask(t, address) == nil })
	if st := s.Status(); st.Recalled == 0 || st.HandshakesRefused != 0 {
		t.Errorf("%+v", st)
	}
}
