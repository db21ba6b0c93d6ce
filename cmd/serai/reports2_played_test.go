package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/nomad"
)

// played2 is a connection to an instance of HTTP/2 that a test plays, frame by frame.
type played2 struct {
	*http2.Framer
	nth    int // connection, from 0
	last   uint32
	window int // of the connection, towards serai
	block  bytes.Buffer
	resets []http2.ErrCode
}

// head sends a head, or trailers.
func (p *played2) head(stream uint32, end bool, pairs ...string) {
	p.block.Reset()
	e := hpack.NewEncoder(&p.block)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1], Sensitive: true}) // nothing enters the table
	}
	b := p.block.Bytes()
	n := min(len(b), 16384)
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b[:n], EndStream: end, EndHeaders: n == len(b)})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), 16384)
		p.WriteContinuation(stream, n == len(b), b[:n])
	}
}

func (p *played2) data(stream uint32, end bool, text string) {
	p.window -= len(text)
	p.WriteData(stream, end, []byte(text))
}

// playInstance2 is the address of an instance whose connections begin with these settings, and
// then have each frame answered by play. That serai resets no stream that is idle is seen to
// for all.
func playInstance2(t *testing.T, play func(p *played2, f http2.Frame), settings ...http2.Setting) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	one := func(nth int, c net.Conn) {
		defer c.Close()
		c.SetDeadline(time.Now().Add(long))
		p := &played2{Framer: http2.NewFramer(c, c), nth: nth, window: 65535}
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		p.WriteSettings(settings...)
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					p.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				if f.StreamID > p.last {
					p.last = f.StreamID
				}
			case *http2.RSTStreamFrame:
				if p.resets = append(p.resets, f.ErrCode); f.StreamID > p.last {
					t.Errorf("stream %d is reset, which is idle", f.StreamID)
				}
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					p.window += int(f.Increment)
				}
			}
			play(p, f)
		}
	}
	running.Go(func() {
		for nth := 0; ; nth++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { one(nth, c) })
		}
	})
	t.Cleanup(func() { l.Close() }) // serai ends the connections before that
	return l.Addr().String()
}

// serving2 is a serai with one instance, which is asked over HTTP/1 and HTTP/2.
func serving2(t *testing.T, instance string, tags ...string) map[string]*http.Client {
	t.Helper()
	_, address := serveStatic(t, []nomad.Registration{registered(instance, "web.example.org", append(tags, "ingress.retries=0")...)})
	return webClients(t, address)
}

// answered2 tells an answer in words.
func answered2(h *http.Client, r *http.Request) string {
	res, err := h.Do(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	said := fmt.Sprint(res.StatusCode, " ", string(body))
	if v := res.Trailer.Get("X-Sum"); v != "" {
		said += " x-sum=" + v
	}
	if err != nil {
		said += " cut"
	}
	return said
}

func request2(t *testing.T, method string, body io.Reader, fields ...string) *http.Request {
	r, err := http.NewRequestWithContext(within(t), method, "http://web.example.org/", body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return r
}
