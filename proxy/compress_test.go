package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"serai/internal/coding"
	"serai/proxy"
	"serai/upstream"
)

// incoming is the body of an answer as its client gets it, bit by bit.
type incoming struct{ c client }

func (in incoming) Read(p []byte) (int, error) {
	switch k := in.c.(type) {
	case *client1:
		return k.in.Read(p)
	case *client2:
		for len(k.body) == 0 && !k.ended && k.cutBy == nil {
			k.trailers(k.next())
		}
		n := copy(p, k.body)
		switch k.body = k.body[n:]; {
		case n > 0:
			return n, nil
		case k.ended:
			return 0, io.EOF
		}
		return 0, k.cutBy
	case *call:
		data, err := k.down.take(len(p))
		return copy(p, data), err
	}
	panic("an unknown client")
}

// decoded returns the body as it was before it was coded, while it comes.
func decoded(t *testing.T, encoding string, in io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "":
		return in
	case "br":
		return brotli.NewReader(in)
	case "gzip":
		r, err := gzip.NewReader(in)
		if err != nil {
			t.Fatalf("gzip: %v", err)
		}
		return r
	case "zstd":
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			t.Fatalf("zstd: %v", err)
		}
		t.Cleanup(r.Close)
		return r
	}
	t.Fatalf("nobody asked for %q", encoding)
	return nil
}

// page makes a body of n bytes, which are text or random.
func page(n int, random bool) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	b := make([]byte, 0, n+100)
	for len(b) < n {
		if random {
			b = append(b, byte(r.Uint32()))
		} else {
			b = fmt.Appendf(b, "<li class=\"item\"><a href=\"/item/%d\">item %d</a></li>\n", r.IntN(5000), r.IntN(100))
		}
	}
	return b[:n]
}

// pages answers with what the query says: n bytes, in pieces of so many, with a flush
// behind each where flush is set, of a length that is told or not.
func pages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("n"))
	piece, _ := strconv.Atoi(q.Get("piece"))
	body := page(n, q.Get("random") != "")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("ETag", `"one"`)
	if q.Get("how") == "length" {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	} else {
		w.Header().Set("Trailer", "X-Sum")
		defer w.Header().Set("X-Sum", strconv.Itoa(n))
	}
	if r.Method == "HEAD" {
		return
	}
	for len(body) > 0 {
		took := min(len(body), piece)
		w.Write(body[:took])
		if body = body[took:]; q.Get("flush") != "" {
			w.(http.Flusher).Flush()
		}
	}
}

// listen has a handler speak HTTP/1.
func listen(t *testing.T, h http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// asking is a GET that takes those codings, and as much as comes over HTTP/2.
func asking(t *testing.T, e engine, target, codings string, fields ...string) client {
	t.Helper()
	if codings != "" {
		fields = append(fields, "Accept-Encoding: "+codings)
	}
	c := e.open(t, request{method: "GET", target: target, fields: append(fields, id, "TE: trailers")})
	if k, ok := c.(*client2); ok {
		k.must(k.f.WriteWindowUpdate(0, 64<<20))
		k.must(k.f.WriteWindowUpdate(stream1, 64<<20))
	}
	return c
}

const allCodings = "ingress.compress=zstd,br,gzip"

// settled holds a node to have given back all that it compressed with.
func (n *node) settled(t *testing.T) {
	t.Helper()
	until(t, "the end of the requests", func() bool { return n.proxy.Inflight() == 0 })
	if s := n.encoders.Status(); s.Memory != 0 {
		t.Errorf("%+v is held at the end", s)
	}
}

// TestCompressedBodies has bodies of all lengths, in all kinds of pieces, compressed in
// each coding through each engine, from instances of HTTP/1 and HTTP/2: each byte is the
// same once it is decoded, and trailers come.
func TestCompressedBodies(t *testing.T) {
	instances := map[string]struct {
		start func(*testing.T, http.HandlerFunc) string
		ro    func() upstream.RegistryOptions
		tag   string
	}{
		"HTTP/1": {listen, speaksHTTP1, "ingress.scheme=http"},
		"HTTP/2": {newInstanceHTTP2, speaksHTTP2, "ingress.scheme=h2c"},
	}
	for from, instance := range instances {
		for name, start := range engines {
			t.Run(from+" to "+name, func(t *testing.T) {
				n := newNode(t, proxy.Options{Splice: true}, instance.ro(), []string{instance.start(t, pages)}, allCodings, instance.tag)
				e := start(t, n)
				for _, takes := range []string{"zstd", "br", "gzip"} {
					for _, size := range []int{1024, 70_000, 1 << 20} {
						for _, piece := range []int{1, 100, 8192, 2 << 20} {
							for _, how := range []string{"how=length", "how=length&flush=1", "how=chunked&flush=1", "how=chunked&random=1"} {
								if size/piece > 1024 || piece > size && size > 1024 && how != "how=length" {
									continue
								}
								target := fmt.Sprintf("/?n=%d&piece=%d&%s", size, piece, how)
								c := asking(t, e, target, takes)
								h := c.head()
								if h == nil || h.status != 200 || h.fields.Get("Content-Encoding") != takes || h.fields.Get("Content-Length") != "" || h.fields.Get("Vary") != "Accept-Encoding" || h.fields.Get("Etag") != `W/"one"` {
									t.Fatalf("%s of %s: %+v", takes, target, h)
								}
								got, err := io.ReadAll(decoded(t, takes, incoming{c}))
								rest, trailers, whole := c.rest()
								if err != nil || !whole || rest != "" || !bytes.Equal(got, page(size, strings.Contains(how, "random"))) {
									t.Fatalf("%s of %s: %d bytes, %v, whole %v, and %d more", takes, target, len(got), err, whole, len(rest))
								}
								if want := []string{"X-Sum: " + strconv.Itoa(size)}; strings.Contains(how, "chunked") && !slices.EqualFunc(trailers, want, strings.EqualFold) {
									t.Errorf("%s of %s: trailers %q, want %q", takes, target, trailers, want)
								}
								c.leave()
							}
						}
					}
				}
				n.settled(t)
			})
		}
	}
}

// TestNotCompressed: what clients do not take, or what is not text, comes as it is.
func TestNotCompressed(t *testing.T) {
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		for _, line := range r.URL.Query()["set"] {
			name, value, _ := strings.Cut(line, ":")
			w.Header().Set(name, value)
		}
		if status, _ := strconv.Atoi(r.URL.Query().Get("status")); status > 0 {
			w.WriteHeader(status)
		}
		io.WriteString(w, strings.Repeat("text ", 1000))
	})
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
			e := start(t, n)
			for _, c := range []struct {
				takes, target string
				fields        []string
				vary          string
			}{
				{"", "/?set=Content-Type:text/plain", nil, "Accept-Encoding"},
				{"identity", "/?set=Content-Type:text/plain", nil, "Accept-Encoding"},
				{"gzip;q=0, br;q=0.000, deflate", "/?set=Content-Type:text/plain", nil, "Accept-Encoding"},
				{"gzip, *;q=0", "/?set=Content-Type:image/png", nil, ""},
				{"gzip", "/?set=Content-Type:application/grpc%2Bproto", nil, ""},
				{"gzip", "/?set=Content-Type:text/plain&set=Cache-Control:no-transform", nil, ""},
				{"gzip", "/?set=Content-Type:text/plain", []string{"Cache-Control: no-transform"}, "Accept-Encoding"},
				{"gzip", "/?set=Content-Type:text/plain", []string{"Range: bytes=0-4"}, "Accept-Encoding"},
				{"gzip", "/?set=Content-Type:text/plain&set=Content-Range:bytes%200-4999/9000&status=206", nil, ""},
				{"gzip", "/?set=Content-Type:text/plain&set=Repr-Digest:sha-256=:x:", nil, ""},
			} {
				k := asking(t, e, c.target, c.takes, c.fields...)
				h := k.head()
				body, _, whole := k.rest()
				if h.fields.Get("Content-Encoding") != "" || h.fields.Get("Vary") != c.vary || body != strings.Repeat("text ", 1000) || !whole {
					t.Errorf("%q of %s: %v, %d bytes, whole %v; want Vary %q", c.takes, c.target, h.fields, len(body), whole, c.vary)
				}
			}
			n.settled(t)
		})
	}
}

// TestCompressedAlready: what the instance has coded is neither coded again nor decoded,
// whatever the client takes.
func TestCompressedAlready(t *testing.T) {
	coded := page(5000, true)
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("ETag", `"g"`)
		w.Write(coded)
	})
	for name, start := range engines {
		n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
		e := start(t, n)
		for _, takes := range []string{"gzip", "zstd", ""} {
			c := asking(t, e, "/", takes)
			h := c.head()
			if body, _, whole := c.rest(); body != string(coded) || !whole || h.fields.Get("Content-Encoding") != "gzip" || h.fields.Get("Etag") != `"g"` || h.fields.Get("Vary") != "" {
				t.Errorf("%s, %q: %v, %d bytes", name, takes, h.fields, len(body))
			}
		}
	}
}

// TestCompressedStream: each event reaches the client as soon as the instance has sent it,
// and so does the head when there is no event yet.
func TestCompressedStream(t *testing.T) {
	for _, media := range []string{"text/event-stream", "application/x-ndjson"} {
		for name, start := range engines {
			for _, takes := range []string{"zstd", "br", "gzip", "gzip, deflate, br, zstd", ""} {
				t.Run(fmt.Sprint(media, " to ", name, " by ", takes), func(t *testing.T) {
					events := make(chan string)
					address := listen(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Type", media)
						w.(http.Flusher).Flush()
						for e := range events {
							io.WriteString(w, e)
							w.(http.Flusher).Flush()
						}
					})
					n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
					c := asking(t, start(t, n), "/", takes)
					h := c.head() // before any event
					encoding := h.fields.Get("Content-Encoding")
					if strings.HasPrefix(media, "text") && strings.Contains(takes, "gzip") && encoding != "gzip" {
						t.Errorf("a stream that lasts is coded by %q", encoding)
					}
					var in io.Reader
					for i := range 20 {
						event := fmt.Sprintf("data: %d %s\n\n", i, strings.Repeat("x", i*i*10))
						events <- event
						if in == nil {
							in = decoded(t, encoding, incoming{c})
						}
						got := make([]byte, len(event))
						if _, err := io.ReadFull(in, got); err != nil || string(got) != event {
							t.Fatalf("event %d is %q, %v", i, got, err)
						}
					}
					close(events)
					if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
						t.Errorf("the end is %q, %v", rest, err)
					}
					n.settled(t)
				})
			}
		}
	}
}

// TestCompressedAndCut: an answer whose instance dies is not whole, however it is framed,
// and what came before can be decoded.
func TestCompressedAndCut(t *testing.T) {
	for name, start := range engines {
		for _, takes := range []string{"zstd", "br", "gzip"} {
			for _, how := range []string{"Content-Length: 90000", "Transfer-Encoding: chunked"} {
				i := newInstance(t)
				n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, allCodings)
				c := asking(t, start(t, n), "/", takes)
				in := i.next()
				in.head()
				in.send("HTTP/1.1 200 OK", "Content-Type: text/html", how, "", "")
				half := page(40_000, false)
				if strings.HasPrefix(how, "T") {
					half = page(0x9c40, false)
					in.send("9c40", "")
				}
				in.send(string(half))
				if h := c.head(); h.fields.Get("Content-Encoding") != takes {
					t.Fatalf("%s: %v", name, h.fields)
				}
				from := decoded(t, takes, incoming{c})
				got := make([]byte, len(half))
				if _, err := io.ReadFull(from, got); err != nil || !bytes.Equal(got, half) {
					t.Errorf("%s, %s: the first half: %v", name, takes, err)
				}
				in.Close()
				_, decodes := io.ReadAll(from)
				if _, _, whole := c.rest(); whole || decodes == nil {
					t.Errorf("%s, %s, %s: the answer is taken for whole (%v), and decodes to its end: %v", name, takes, how, whole, decodes)
				}
				n.settled(t)
				if got := n.proxy.Reasons(); got["upstream-cut"] != 1 {
					t.Errorf("%s, %s: the reasons are %v", name, takes, got)
				}
			}
		}
	}
}

// TestCompressedForWhoLeaves: a client that leaves in the middle ends the work for it, and
// nothing stays taken.
func TestCompressedForWhoLeaves(t *testing.T) {
	for name, start := range engines {
		for _, takes := range []string{"zstd", "br", "gzip"} {
			ended := make(chan struct{})
			address := listen(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				w.Header().Set("Content-Type", "text/html")
				for i := 0; r.Context().Err() == nil; i++ {
					w.Write(page(10_000+i%100, true))
					w.(http.Flusher).Flush()
				}
			})
			n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
			c := asking(t, start(t, n), "/", takes)
			if h := c.head(); h.fields.Get("Content-Encoding") != takes {
				t.Fatalf("%s: %v", name, h.fields)
			}
			if k, ok := c.(*client2); !ok || takes == "br" {
				c.leave()
			} else {
				k.cut() // the stream alone
			}
			select {
			case <-ended:
			case <-time.After(long):
				t.Fatalf("%s, %s: the instance goes on", name, takes)
			}
			n.settled(t)
		}
	}
}

// TestHeadAsGet: HEAD has the fields of GET.
func TestHeadAsGet(t *testing.T) {
	address := listen(t, pages)
	for name, start := range engines {
		n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
		e := start(t, n)
		for _, takes := range []string{"", "gzip", "gzip, zstd"} {
			for _, target := range []string{"/?n=5000&piece=500&how=length", "/?n=100&piece=100&how=length"} {
				var heads []http.Header
				for _, method := range []string{"GET", "HEAD"} {
					r := request{method: method, target: target, fields: []string{id, "Accept-Encoding: " + takes}}
					if takes == "" {
						r.fields = r.fields[:1]
					}
					c := e.open(t, r)
					h := c.head()
					if body, _, whole := c.rest(); !whole || (body == "") != (method == "HEAD") {
						t.Errorf("%s: %s has %d bytes, whole %v", name, method, len(body), whole)
					}
					h.fields.Del("Date")
					h.fields.Del("Transfer-Encoding")
					heads = append(heads, h.fields)
				}
				if !maps.EqualFunc(heads[0], heads[1], slices.Equal) {
					t.Errorf("%s, %q of %s:\nGET  %v\nHEAD %v", name, takes, target, heads[0], heads[1])
				}
			}
		}
		n.settled(t)
	}
}

// TestCompressedOverHTTP1: a client of HTTP/1.0 gets the body as it is, with its length;
// one of HTTP/1.1 goes on with its connection, in chunks.
func TestCompressedOverHTTP1(t *testing.T) {
	n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{listen(t, pages)}, allCodings)
	e := listen1(t, n)
	c, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(long))
	r := bufio.NewReader(c)
	const target = "/?n=30000&piece=1000&how=length"
	for range 3 {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\n\r\n", target, host)
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(decoded(t, a.Header.Get("Content-Encoding"), a.Body))
		if err != nil || !bytes.Equal(body, page(30_000, false)) || !slices.Equal(a.TransferEncoding, []string{"chunked"}) || a.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v: %d bytes, %v", a.Header, len(body), err)
		}
		io.Copy(io.Discard, a.Body)
	}
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: %s\r\nAccept-Encoding: gzip\r\n\r\n", target, host)
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(a.Body); err != nil || !bytes.Equal(body, page(30_000, false)) || a.ContentLength != 30_000 || a.Header.Get("Content-Encoding") != "" || a.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v: %d bytes, %v", a.Header, len(body), err)
	}
}

// TestSlowReadersOfCompressed: clients that take nothing of compressed answers hold no
// more memory than is given, and others get theirs, compressed as long as there is some
// left and as they are beyond. When they leave all is given back.
func TestSlowReadersOfCompressed(t *testing.T) {
	const limit = 16 << 20
	address := listen(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if r.URL.Path == "/endless" {
			for b := page(64<<10, true); r.Context().Err() == nil; {
				w.Write(b)
			}
			return
		}
		w.Write(page(20_000, false))
	})
	for name, start := range engines {
		if name == "memory" {
			continue // whose clients take everything
		}
		for takes, want := range map[string]string{"zstd": "", "gzip, zstd": "gzip"} {
			t.Run(name+" by "+takes, func(t *testing.T) {
				encoders := coding.NewEncoders(limit)
				n := newNodeWithin(t, encoders, proxy.Options{}, speaksHTTP1(), []string{address}, allCodings)
				e := start(t, n)
				var slow []client
				for range 12 {
					c := asking(t, e, "/endless", "zstd")
					c.head()
					slow = append(slow, c)
				}
				s := encoders.Status()
				if s.Memory > limit || s.Memory < limit/4 || s.Uncompressed == 0 {
					t.Errorf("%+v", s)
				}
				c := asking(t, e, "/", takes)
				h := c.head()
				body, err := io.ReadAll(decoded(t, h.fields.Get("Content-Encoding"), incoming{c}))
				if err != nil || !bytes.Equal(body, page(20_000, false)) || h.fields.Get("Content-Encoding") != want || h.fields.Get("Vary") != "Accept-Encoding" {
					t.Errorf("another client gets %v, %d bytes, %v", h.fields, len(body), err)
				}
				for _, c := range slow {
					c.leave()
				}
				n.settled(t)
			})
		}
	}
}

// TestDigestInTrailers: one that nobody announced does not reach the client behind a body
// that is another one now.
func TestDigestInTrailers(t *testing.T) {
	for name, start := range engines {
		i := newInstance(t)
		n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, allCodings)
		c := asking(t, start(t, n), "/", "gzip")
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK", "Content-Type: text/html", "Transfer-Encoding: chunked", "", "3", "abc", "0", "X-Sum: 1", "Repr-Digest: sha-256=:x:", "", "")
		c.head()
		body, _ := io.ReadAll(decoded(t, "gzip", incoming{c}))
		if _, trailers, whole := c.rest(); string(body) != "abc" || !whole || !slices.Equal(trailers, []string{"X-Sum: 1"}) {
			t.Errorf("%s: %q, trailers %q, whole %v", name, body, trailers, whole)
		}
	}
}
