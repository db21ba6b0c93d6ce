package http2_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/upstream"
	"serai/upstream/http2"
	"serai/wire"
)

// peer is an instance that a test plays frame by frame.
type peer struct {
	t *testing.T
	net.Conn
	*x.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
	nth   int // connection, from 0
}

// playing has each connection, in turn, played by play, which is given it once the
// preface and our SETTINGS have come. What it sends first are its own settings.
func playing(t *testing.T, play func(p *peer)) *upstream.Endpoint {
	t.Helper()
	return playingWith(t, http2.Options{}, upstream.RegistryOptions{}, play)
}

func playingWith(t *testing.T, o http2.Options, ro upstream.RegistryOptions, play func(p *peer)) *upstream.Endpoint {
	t.Helper()
	ro.Transport = http2.New(o)
	return endpoint(t, upstream.Target{Address: listenAndPlay(t, play), Scheme: upstream.H2C}, ro)
}

// listenAndPlay returns the address of the instance.
func listenAndPlay(t *testing.T, play func(p *peer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for nth := 0; ; nth++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(long))
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				p := &peer{t: t, Conn: c, Framer: x.NewFramer(c, c), nth: nth}
				p.hpack = hpack.NewEncoder(&p.block)
				p.AllowIllegalWrites = true
				if _, err := io.ReadFull(c, make([]byte, len(x.ClientPreface))); err != nil {
					return
				}
				if _, err := p.ReadFrame(); err != nil { // SETTINGS
					return
				}
				play(p)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// request waits for the head of a request, and returns its stream; 0 when the
// connection ends.
func (p *peer) request() uint32 {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return 0
		}
		if h, ok := f.(*x.HeadersFrame); ok {
			return h.StreamID
		}
	}
}

// await waits for a frame that is wanted, and returns it; nil at the end of the
// connection.
func (p *peer) await(wanted func(x.Frame) bool) x.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		if wanted(f) {
			return f
		}
	}
}

// fields encodes pairs of names and values.
func (p *peer) fields(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.hpack.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return p.block.Bytes()
}

// answer sends a head.
func (p *peer) answer(stream uint32, end bool, pairs ...string) {
	p.WriteHeaders(x.HeadersFrameParam{StreamID: stream, BlockFragment: p.fields(pairs...), EndStream: end, EndHeaders: true})
}

// drain reads until the connection ends.
func (p *peer) drain() { io.Copy(io.Discard, p.Conn) }

// fails makes a request that is to fail.
func fails(t *testing.T, e *upstream.Endpoint) *upstream.Failure {
	t.Helper()
	f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &upstream.Answer{})
	if f == nil {
		t.Fatal("it was answered")
	}
	return f
}

func newDecoder() *hpack.Decoder { return hpack.NewDecoder(4096, nil) }

func field(name, value string) wire.Field {
	return wire.Field{Name: []byte(name), Value: []byte(value), Kind: wire.KindOf([]byte(name))}
}
