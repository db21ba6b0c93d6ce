package proxy_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// instance is one that a test plays by hand. All that it is sent is recorded.
type instance struct {
	t       *testing.T
	address string
	conns   chan *link

	mu  sync.Mutex
	all []*link // that brought a byte, in that order
}

// link is a connection to an instance.
type link struct {
	t *testing.T
	net.Conn
	r    *bufio.Reader
	seen strings.Builder
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, address: l.Addr().String(), conns: make(chan *link, 64)}
	var running sync.WaitGroup
	var open sync.Map
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(long))
			open.Store(c, nil)
			running.Go(func() {
				k := &link{t: t, Conn: c}
				k.r = bufio.NewReader(io.TeeReader(c, &k.seen))
				if _, err := k.r.Peek(1); err != nil { // a probe's, never used
					c.Close()
					return
				}
				i.mu.Lock()
				i.all = append(i.all, k)
				i.mu.Unlock()
				i.conns <- k
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return i
}

// next returns the next connection that brings a request.
func (i *instance) next() *link {
	i.t.Helper()
	select {
	case k := <-i.conns:
		return k
	case <-time.After(long):
		i.t.Fatal("no request reached the instance")
		return nil
	}
}

// recorded returns all that was sent, once the connections have ended.
func (i *instance) recorded() (all []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.all {
		io.Copy(io.Discard, k.r)
		all = append(all, k.seen.String())
	}
	return all
}

func (k *link) head() string {
	k.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := k.r.ReadString('\n')
		if b.WriteString(line); err != nil {
			k.t.Fatalf("read a head: %v, after %q", err, b.String())
		}
	}
	return b.String()
}

func (k *link) read(want string) {
	k.t.Helper()
	got := make([]byte, len(want))
	// Names of fields come from HTTP/2 in lower case.
	if n, err := io.ReadFull(k.r, got); err != nil || !strings.EqualFold(string(got), want) {
		k.t.Fatalf("the instance read %q, %v, want %q", got[:n], err, want)
	}
}

func (k *link) send(lines ...string) {
	k.t.Helper()
	if _, err := io.WriteString(k.Conn, strings.Join(lines, "\r\n")); err != nil {
		k.t.Fatalf("the instance writes: %v", err)
	}
}

// ended reads the end of the connection, however it comes.
func (k *link) ended() { io.Copy(io.Discard, k.r) }
