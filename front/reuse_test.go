package front_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"serai/front"
)

// endings is an engine whose sessions end as the first byte from the client says.
type endings struct {
	mu     sync.Mutex
	last   *front.Conn
	before front.Session // of last
	remote [2]string     // its address, and the text of its host
}

func (e *endings) Open(c *front.Conn) front.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last, e.before = c, c.LastSession()
	e.remote = [2]string{c.Remote.String(), string(c.RemoteText)}
	return &ending{c: c, looked: make(chan struct{})}
}

func (e *endings) Plaintext([5]byte) []byte { return nil }

type ending struct {
	c      *front.Conn
	once   sync.Once
	looked chan struct{} // closed by Check
	kept   bool          // somebody still holds it
}

func (e *ending) Serve() front.Ending {
	for len(e.c.Socket.Buffered()) == 0 {
		if e.c.Socket.Fill() != nil {
			return front.AtOnce
		}
	}
	how := e.c.Socket.Buffered()[0]
	e.c.Socket.Discard(1)
	switch how {
	case 'r':
		return front.Reset
	case 'k':
		e.kept = true
	case 'w':
		<-e.looked
	case 'p':
		panic("as the test wants it")
	}
	return front.Graceful
}

func (e *ending) Drain()          { e.c.Socket.Interrupt() }
func (e *ending) Cut()            { go e.c.Socket.Close() }
func (e *ending) Check(time.Time) { e.once.Do(func() { close(e.looked) }) }
func (e *ending) Reusable() bool  { return !e.kept }

// TestConnIsReused for another connection once its own has ended, but not while
// somebody may hold it: after a reset or a panic, when its session says so, and when
// watch has looked at it.
func TestConnIsReused(t *testing.T) {
	e := &endings{}
	s, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": e}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	held := make(map[*front.Conn]string)
	again := 0
	connect := func(how string) { // a connection that ends in this way
		c := dial(t, l.Addr().String())
		defer c.Close()
		if _, err := io.WriteString(c, how); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c) // until serai closes
		until(t, "the end of the connection", func() bool { return s.Status().Conns == 0 })
		e.mu.Lock()
		defer e.mu.Unlock()
		if local := c.LocalAddr().String(); e.remote != [2]string{local, "127.0.0.1"} {
			t.Fatalf("%s is taken for %q", local, e.remote)
		}
		if how := held[e.last]; how != "" {
			t.Errorf("the Conn of one that ended with %q is used again", how)
		}
		if how != "g" {
			held[e.last] = how
		} else if e.before != nil {
			again++
		}
	}
	for _, how := range []string{"r", "k", "w", "p"} {
		connect(how)
	}
	for range 500 {
		connect("g")
	}
	if again == 0 {
		t.Error("no Conn is used again")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
