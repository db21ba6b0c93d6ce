//go:build !race

package http2_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	engine "serai/proxy/http2"
)

// TestAllocNothingPerRequest counts what the whole process allocates for a request:
// client, serai and instance. Each field enters the table anew, which is copied now and
// then.
func TestAllocNothingPerRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(c net.Conn)
		body []byte
		tags []string
	}{
		{"HTTP/1", playHTTP1, nil, nil},
		{"h2c", playHTTP2, nil, []string{"ingress.scheme=h2c"}},
		{"paths and fields", playHTTP2, nil, []string{
			"ingress.scheme=h2c", "ingress.rewrite=^/v1/(.*)$ /$1", "ingress.prepend=/app", "ingress.request-remove=Cookie", "ingress.response-remove=Server",
			"ingress.request-set=X-User: {client} {host}{path} {request-id} {tls-version}", "ingress.response-set=X-Request-Id: {request-id}"}},
		{"gRPC", playHTTP2, append([]byte{0, 0, 0, 0, 100}, make([]byte, 100)...), []string{"ingress.scheme=grpc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, block := dialPlayed(t, c.play, c.tags...)
			countAllocs(t, p.c, block, c.body)
		})
	}
}

// dialPlayed connects to a serai whose instance is played, and returns a block for requests.
func dialPlayed(t *testing.T, play func(net.Conn), tags ...string) (p *peer, block []byte) {
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				play(conn)
			}()
		}
	}()
	k.point(l.Addr().String(), tags...)
	p = k.dial()
	p.f.WriteWindowUpdate(0, 1<<30)
	block = bytes.Clone(p.fields("/a?b=c", "user-agent", "test", "accept", "*/*", "cookie", "a=b", "content-type", "application/grpc", "te", "trailers"))
	return p, block
}

// TestAllocLittlePerBatch counts the bytes that are allocated for calls that come together,
// while nothing else is in flight before and after them: the buffers that they need stay.
func TestAllocLittlePerBatch(t *testing.T) {
	p, block := dialPlayed(t, playHTTP2, "ingress.scheme=grpc")
	const batch, n = 64, 50
	id, message := uint32(1), append([]byte{0, 0, 0, 0, 100}, make([]byte, 100)...)
	in := bufio.NewReader(p.c)
	var frames []byte
	once := func() {
		frames = frames[:0]
		for range batch {
			frames = appendFrame(frames, http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, block)
			frames = appendFrame(frames, http2.FrameData, http2.FlagDataEndStream, id, message)
			id += 2
		}
		if _, err := p.c.Write(frames); err != nil {
			t.Fatal(err)
		}
		for ended := 0; ended < batch; {
			var head [9]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
				t.Fatal(err)
			}
			if http2.FrameType(head[3]) <= http2.FrameHeaders && http2.Flags(head[4]).Has(http2.FlagDataEndStream) {
				ended++
			}
		}
	}
	for range n {
		once()
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		once()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.TotalAlloc-before.TotalAlloc) / batch / n
	t.Logf("%.0f bytes for each call", each)
	if each > 200 {
		t.Errorf("%.0f bytes for each call", each)
	}
}

// countAllocs sends requests of that block and body, one after the other.
func countAllocs(t *testing.T, c net.Conn, block, body []byte) {
	id, in := uint32(1), make([]byte, 4096)
	var frames []byte
	once := func() {
		// The first block has filled the table; the others are the same, as literals.
		flags := http2.FlagHeadersEndHeaders
		if body == nil {
			flags |= http2.FlagHeadersEndStream
		}
		frames = appendFrame(frames[:0], http2.FrameHeaders, flags, id, block)
		if body != nil {
			frames = appendFrame(frames, http2.FrameData, http2.FlagDataEndStream, id, body)
		}
		if _, err := c.Write(frames); err != nil {
			t.Fatal(err)
		}
		for n, seen := 0, 0; ; {
			got, err := c.Read(in[n:])
			if err != nil {
				t.Fatal(err)
			}
			for n += got; n-seen >= 9; {
				size := int(in[seen])<<16 | int(in[seen+1])<<8 | int(in[seen+2])
				if n-seen < 9+size {
					break
				}
				ends := in[seen+3] <= 1 && in[seen+4]&1 != 0
				if seen += 9 + size; ends {
					id += 2
					return
				}
			}
		}
	}
	for range 500 {
		once()
	}
	const n = 2000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		once()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / n
	t.Logf("%.3f allocations for each request", each)
	if each > 0.1 {
		t.Errorf("%.2f allocations for each request", each)
	}
}

func appendFrame(dst []byte, kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) []byte {
	dst = append(dst, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), byte(kind), byte(flags), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	return append(dst, payload...)
}

// playHTTP1 answers each read.
func playHTTP1(c net.Conn) {
	b, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// playHTTP2 answers each request when it has ended, with trailers.
func playHTTP2(c net.Conn) {
	var head, trailers bytes.Buffer
	enc := hpack.NewEncoder(&head)
	enc.SetMaxDynamicTableSize(0)
	enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	enc.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
	enc = hpack.NewEncoder(&trailers)
	enc.SetMaxDynamicTableSize(0)
	enc.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "0"})
	in, out := make([]byte, 64<<10), appendFrame(nil, http2.FrameSettings, 0, 0, nil)
	out = appendFrame(out, http2.FrameWindowUpdate, 0, 0, []byte{0x40, 0, 0, 0})
	if _, err := io.ReadFull(c, in[:len(http2.ClientPreface)]); err != nil {
		return
	}
	if _, err := c.Write(out); err != nil {
		return
	}
	for {
		if _, err := io.ReadFull(c, in[:9]); err != nil {
			return
		}
		size, kind, flags := int(in[0])<<16|int(in[1])<<8|int(in[2]), http2.FrameType(in[3]), http2.Flags(in[4])
		id := uint32(in[5])<<24 | uint32(in[6])<<16 | uint32(in[7])<<8 | uint32(in[8])
		if _, err := io.ReadFull(c, in[:size]); err != nil {
			return
		}
		out = out[:0]
		switch {
		case kind == http2.FrameSettings && !flags.Has(http2.FlagSettingsAck):
			out = appendFrame(out, http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
		case kind == http2.FramePing && !flags.Has(http2.FlagPingAck):
			out = appendFrame(out, http2.FramePing, http2.FlagPingAck, 0, in[:size])
		case kind <= http2.FrameHeaders && flags.Has(http2.FlagDataEndStream):
			out = appendFrame(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, head.Bytes())
			out = appendFrame(out, http2.FrameData, 0, id, in[100:200])
			out = appendFrame(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, trailers.Bytes())
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}
