package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/front"
	engine1 "serai/proxy/http1"
	engine2 "serai/proxy/http2"
)

// overHTTP2 is the HTTP/2 engine behind a socket, by prior knowledge.
type overHTTP2 struct{ address string }

func listen2(t *testing.T, n *node) overHTTP2 {
	t.Helper()
	e1, err := engine1.NewEngine(n.proxy, engine1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e2, err := engine2.NewEngine(n.proxy, engine2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": e1, front.HTTP2: e2}, Clients: n.clients})
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
	return overHTTP2{l.Addr().String()}
}

// client2 is a client with a connection, and a stream, of its own. It is written with
// the library, which knows nothing of serai's codec.
type client2 struct {
	t       *testing.T
	c       net.Conn
	f       *http2.Framer
	request request
	whole   bool // the request has been sent to its end
	tunnel  bool
	ended   bool // the answer has come to its end
	cutBy   error
	body    []byte
	after   []string // trailers
}

const stream1 = 1

func (e overHTTP2) open(t *testing.T, r request) client {
	t.Helper()
	c, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	k := &client2{t: t, c: c, f: http2.NewFramer(c, c), request: r}
	k.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	k.must(k.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
	var block bytes.Buffer
	to := hpack.NewEncoder(&block)
	add := func(name, value string) { to.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	method := r.method
	if r.upgrade != "" {
		method = "CONNECT"
		add(":protocol", r.upgrade)
	}
	add(":method", method)
	add(":scheme", "http")
	add(":authority", host)
	add(":path", r.target)
	for _, line := range r.fields {
		name, value, _ := strings.Cut(line, ": ")
		if !strings.EqualFold(name, "Keep-Alive") { // it has no place here
			add(strings.ToLower(name), value)
		}
	}
	if r.length > 0 {
		add("content-length", strconv.Itoa(r.length))
	}
	k.whole = r.length == 0 && r.upgrade == ""
	k.must(k.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: k.whole}))
	if r.body != "" {
		k.send(r.body)
	}
	return k
}

func (k *client2) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("write a frame: %v", err)
	}
}

func (k *client2) send(s string) {
	k.t.Helper()
	if k.request.length > 0 {
		k.request.length -= len(s)
		k.whole = k.request.length == 0
	}
	k.must(k.f.WriteData(stream1, k.whole, []byte(s)))
}

func (k *client2) finish(trailers ...string) {
	switch {
	case k.whole:
	case len(trailers) == 0:
		k.f.WriteData(stream1, true, nil)
	default:
		var block bytes.Buffer
		to := hpack.NewEncoder(&block)
		for _, line := range trailers {
			name, value, _ := strings.Cut(line, ": ")
			to.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: value})
		}
		k.must(k.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}))
	}
}

func (k *client2) cut()   { k.f.WriteRSTStream(stream1, http2.ErrCodeCancel) }
func (k *client2) leave() { k.c.Close() }

// next reads up to the next frame of the stream, and returns a head.
func (k *client2) next() *http2.MetaHeadersFrame {
	k.t.Helper()
	for k.cutBy == nil && !k.ended {
		f, err := k.f.ReadFrame()
		if err != nil {
			k.cutBy = err
			break
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				k.f.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame:
			k.cutBy = fmt.Errorf("reset: %v", f.ErrCode)
		case *http2.GoAwayFrame:
			k.cutBy = fmt.Errorf("goaway: %v %s", f.ErrCode, f.DebugData())
		case *http2.DataFrame:
			k.body = append(k.body, f.Data()...)
			k.ended = f.StreamEnded()
			return nil
		case *http2.MetaHeadersFrame:
			k.ended = f.StreamEnded()
			return f
		}
	}
	return nil
}

func (k *client2) head() *head {
	k.t.Helper()
	f := k.next()
	if f == nil {
		return nil
	}
	h := &head{fields: make(http.Header)}
	h.status, _ = strconv.Atoi(f.PseudoValue("status"))
	for _, field := range f.RegularFields() {
		h.fields.Add(field.Name, field.Value)
	}
	if k.request.upgrade != "" && h.status == 200 {
		h.status, k.tunnel = 101, true
		h.fields.Set("Upgrade", k.request.upgrade)
	}
	return h
}

func (k *client2) trailers(f *http2.MetaHeadersFrame) {
	if f != nil {
		for _, field := range f.RegularFields() {
			k.after = append(k.after, http.CanonicalHeaderKey(field.Name)+": "+field.Value)
		}
	}
}

func (k *client2) read(want string) {
	k.t.Helper()
	for len(k.body) < len(want) && !k.ended && k.cutBy == nil {
		k.trailers(k.next())
	}
	if !strings.HasPrefix(string(k.body), want) {
		k.t.Fatalf("read %q, %v, want %q", k.body, k.cutBy, want)
	}
	k.body = k.body[len(want):]
}

func (k *client2) rest() (body string, trailers []string, whole bool) {
	k.t.Helper()
	for !k.ended && k.cutBy == nil {
		k.trailers(k.next())
	}
	if errors.Is(k.cutBy, context.DeadlineExceeded) {
		k.t.Fatal(k.cutBy)
	}
	return string(k.body), k.after, k.ended
}
