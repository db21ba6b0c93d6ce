package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/proxy"
	"serai/upstream"
	"serai/wire"
)

// memory is an engine without a wire: requests come and answers go as data.
type memory struct {
	proxy      *proxy.Proxy
	tunnelless bool
	peerless   bool // the peer has no address
}

// stream is bytes on their way within memory, one way.
type stream struct {
	mu       sync.Mutex
	changed  sync.Cond
	data     []byte
	end      error        // behind data: io.EOF for a clean end
	trailers []wire.Field // of a request
	lines    []string     // of an answer
	stopped  bool         // who reads is interrupted
	by       time.Time
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

// do changes the stream, and tells who waits.
func (s *stream) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

// take takes at most n bytes, waiting for the first.
func (s *stream) take(n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.stopped, !s.by.IsZero() && !time.Now().Before(s.by):
			return nil, os.ErrDeadlineExceeded
		case len(s.data) > 0:
			n = min(n, len(s.data))
			data := bytes.Clone(s.data[:n])
			s.data = s.data[n:]
			return data, nil
		case s.end != nil:
			return nil, s.end
		}
		if !s.by.IsZero() {
			defer time.AfterFunc(time.Until(s.by), s.changed.Broadcast).Stop()
		}
		s.changed.Wait()
	}
}

// call is one exchange: what the proxy sees of it, and what its client does.
type call struct {
	x        proxy.Exchange
	t        *testing.T
	up, down *stream
	heads    chan *head    // as they come out
	served   chan struct{} // closed when Serve has returned

	left  int    // of a body whose length was told, in bytes
	held  []byte // behind the head, until Flush
	begun *head  // until Flush
}

// tunnelling is a call whose engine has tunnels.
type tunnelling struct{ *call }

func (m *memory) open(t *testing.T, r request) client {
	c := &call{t: t, up: newStream(), down: newStream(), heads: make(chan *head, 100), served: make(chan struct{})}
	path, query, has := strings.Cut(r.target, "?")
	c.x.Head = wire.RequestHead{
		Method: []byte(r.method), Target: []byte(r.target), Path: []byte(path), Query: []byte(query), HasQuery: has,
		Host: []byte(host), Minor: 1, KeepAlive: true, Upgrade: []byte(r.upgrade),
	}
	fields := r.fields
	switch {
	case r.length > 0:
		c.x.Head.Framing, c.x.Head.Size = wire.Length, int64(r.length)
		fields = append(fields[:len(fields):len(fields)], "Content-Length: "+strconv.Itoa(r.length))
	case r.length < 0:
		c.x.Head.Framing = wire.Chunked
	}
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		f := wire.Field{Name: []byte(name), Value: []byte(value), Kind: wire.KindOf([]byte(name))}
		c.x.Head.Continue = c.x.Head.Continue || f.Kind == wire.Expect
		c.x.Head.Fields = append(c.x.Head.Fields, f)
	}
	c.down.by, c.left = time.Now().Add(long), r.length
	c.send(r.body)
	c.x.Body, c.x.Responder = c, c
	if r.length == 0 {
		c.x.Body = empty{}
	}
	if !m.tunnelless {
		c.x.Responder = tunnelling{c}
	}
	c.x.Peer, c.x.Local = netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:80")
	if m.peerless {
		c.x.Peer = netip.AddrPort{}
	}
	c.x.Start = time.Now()
	c.x.Now = c.x.Start
	go func() {
		defer close(c.served)
		m.proxy.Serve(&c.x)
	}()
	t.Cleanup(func() {
		c.leave()
		<-c.served
	})
	return c
}

// empty is a request without a body.
type empty struct{}

func (empty) Next() ([]byte, error)  { return nil, io.EOF }
func (empty) Gather() (bool, error)  { return false, nil }
func (empty) Holds() int64           { return 1 }
func (empty) Ready() bool            { return false }
func (empty) Done() bool             { return true }
func (empty) Trailers() []wire.Field { return nil }
func (empty) Interrupt()             {}

// What the proxy asks of the body.

const whatever = 1 << 16

// Gather waits for a small body, unless its client waits to be asked for it.
func (c *call) Gather() (waited bool, err error) {
	if c.x.Head.Framing != wire.Length || c.x.Head.Size > whatever || c.x.Head.Continue {
		return false, nil
	}
	c.up.do(func() {
		for c.up.end == nil {
			c.up.changed.Wait()
		}
		if err = c.up.end; err == io.EOF {
			err = nil
		}
	})
	return true, err
}

func (c *call) Holds() int64 { return 1 }

func (c *call) Next() ([]byte, error) { return c.up.take(whatever) }
func (c *call) Ready() (ready bool) {
	c.up.do(func() { ready = len(c.up.data) > 0 && !c.up.stopped })
	return ready
}
func (c *call) Done() (done bool) {
	c.up.do(func() { done = len(c.up.data) == 0 && c.up.end == io.EOF })
	return done
}
func (c *call) Trailers() []wire.Field { return c.up.trailers }
func (c *call) Interrupt()             { c.up.do(func() { c.up.stopped = true }) }

// What it tells the responder.

func copyHead(h *wire.ResponseHead) *head {
	copied := &head{status: h.Status, fields: make(http.Header)}
	for _, f := range h.Fields {
		if f.Kind != wire.Dropped {
			copied.fields.Add(string(f.Name), string(f.Value))
		}
	}
	return copied
}

func (c *call) Interim(h *wire.ResponseHead) error {
	c.heads <- copyHead(h)
	return nil
}

func (c *call) Head(h *wire.ResponseHead) error {
	c.begun = copyHead(h)
	return nil
}

func (c *call) Write(p []byte) error {
	c.held = append(c.held, p...)
	return nil
}

func (c *call) Flush() error {
	if c.begun != nil {
		c.heads <- c.begun
		c.begun = nil
	}
	c.down.do(func() { c.down.data = append(c.down.data, c.held...) })
	c.held = nil
	return nil
}

func (c *call) Finish(trailers []wire.Field) error {
	c.Flush()
	var lines []string
	for _, f := range trailers {
		if f.Kind != wire.Dropped {
			lines = append(lines, string(f.Name)+": "+string(f.Value))
		}
	}
	c.down.do(func() { c.down.end, c.down.lines = io.EOF, lines })
	return nil
}

var errAborted = errors.New("aborted")

func (c *call) Abort() {
	close(c.heads)
	c.down.do(func() { c.down.end = errAborted })
}

func (c tunnelling) Tunnel(h *wire.ResponseHead) (upstream.Duplex, error) {
	c.heads <- copyHead(h)
	return inside{c.call}, nil
}

// inside is the client's side of a tunnel.
type inside struct{ c *call }

func (i inside) Read(p []byte) (int, error) {
	data, err := i.c.up.take(len(p))
	return copy(p, data), err
}
func (i inside) Write(p []byte) (int, error) {
	i.c.down.do(func() { i.c.down.data = append(i.c.down.data, p...) })
	return len(p), nil
}
func (i inside) ReadWithin(now time.Time, d time.Duration) {
	i.c.up.do(func() { i.c.up.by = now.Add(d) })
}
func (i inside) WriteWithin(time.Time, time.Duration) {}
func (i inside) CloseWrite() error {
	i.c.down.do(func() { i.c.down.end = io.EOF })
	return nil
}
func (i inside) Interrupt() { i.c.up.do(func() { i.c.up.stopped = true }) }
func (i inside) Abort()     { i.c.down.do(func() { i.c.down.end = errAborted }) }

// What the client does.

func (c *call) send(s string) {
	c.up.do(func() {
		c.up.data = append(c.up.data, s...)
		if c.left > 0 {
			if c.left -= len(s); c.left == 0 {
				c.up.end = io.EOF
			}
		}
	})
}

func (c *call) finish(trailers ...string) {
	c.up.do(func() {
		for _, line := range trailers {
			name, value, _ := strings.Cut(line, ": ")
			c.up.trailers = append(c.up.trailers, wire.Field{Name: []byte(name), Value: []byte(value), Kind: wire.KindOf([]byte(name))})
		}
		c.up.end = io.EOF
	})
}

func (c *call) cut() { c.up.do(func() { c.up.end = wire.ErrBodyCut }) }

func (c *call) leave() {
	c.up.do(func() {
		if c.up.end == nil {
			c.up.end = wire.ErrBodyCut
		}
	})
	select {
	case <-c.served:
	default:
		c.x.Cancel()
	}
}

func (c *call) head() *head {
	c.t.Helper()
	select {
	case h := <-c.heads:
		return h
	case <-time.After(long):
		c.t.Fatal("no head came")
		return nil
	}
}

func (c *call) read(want string) {
	c.t.Helper()
	var got []byte
	for len(got) < len(want) {
		data, err := c.down.take(len(want) - len(got))
		if err != nil {
			c.t.Fatalf("read %q, %v, want %q", got, err, want)
		}
		got = append(got, data...)
	}
	if string(got) != want {
		c.t.Fatalf("read %q, want %q", got, want)
	}
}

func (c *call) rest() (body string, trailers []string, whole bool) {
	var got []byte
	for {
		data, err := c.down.take(whatever)
		got = append(got, data...)
		if err != nil {
			return string(got), c.down.lines, err == io.EOF
		}
	}
}
