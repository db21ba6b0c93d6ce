package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Calls of gRPC, as bytes: what a message means is nobody's business here, so that no
// more than HTTP/2 is needed (gRPC over HTTP2, doc/PROTOCOL-HTTP2.md of its project).
const (
	unaryPath  = "loadtest.Echo/Unary"
	streamPath = "loadtest.Echo/Stream"
	typeGRPC   = "application/grpc"
)

// message returns one of 128 bytes: not compressed, its length, itself.
func message() []byte { return append([]byte{0, 0, 0, 0, 128}, body(128)...) }

// plainHTTP2 is HTTP/2 by prior knowledge.
func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// serveGRPC answers calls: Unary when its message is whole, Stream with every one that
// comes.
func serveGRPC(address string) (stop func() error, err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &http.Server{Protocols: plainHTTP2(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", typeGRPC)
		w.Header().Set("Trailer", "Grpc-Status")
		b := make([]byte, 1024)
		var err error
		for n := 0; err == nil; n = 0 {
			if r.URL.Path == "/"+streamPath {
				n, err = r.Body.Read(b)
			} else {
				n, err = io.ReadFull(r.Body, b)
			}
			w.Write(b[:n])
			if n > 0 && r.URL.Path == "/"+streamPath {
				w.(http.Flusher).Flush()
			}
		}
		w.Header().Set("Grpc-Status", "0")
	})}
	go s.Serve(l)
	return s.Close, nil
}

// talk exchanges messages on gRPC streams.
func (g *generateCommand) talk(ctx context.Context) (seen, error) {
	watch := newStopwatch()
	var running sync.WaitGroup
	for i := range g.Conns {
		t := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: g.Host}}
		if strings.HasPrefix(g.URL, "http://") {
			t.Protocols = plainHTTP2()
		}
		defer t.CloseIdleConnections()
		// The first stream opens the connection that the others share.
		opened := make(chan struct{})
		for j := range g.Streams {
			running.Go(func() {
				if j > 0 {
					<-opened
				}
				once := sync.OnceFunc(func() { close(opened) })
				if j > 0 {
					once = func() {}
				}
				defer once()
				if err := g.talkOn(ctx, t, once, g.pace(i*g.Streams+j, g.Conns*g.Streams), watch); err != nil {
					watch.add(0, err)
				}
			})
		}
	}
	running.Wait()
	return watch.seen(), nil
}

// talkOn exchanges messages on one stream, and calls open when it is open.
func (g *generateCommand) talkOn(ctx context.Context, t *http.Transport, open func(), p *pace, watch *stopwatch) error {
	from, to := io.Pipe()
	defer to.Close()
	// The stream outlives ctx by its last message.
	q, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, g.URL, from)
	if err != nil {
		return err
	}
	q.Host = g.Host
	q.Header.Set("Content-Type", typeGRPC)
	q.Header.Set("Te", "trailers")
	sent := message()
	first := make(chan error, 1)
	go func() {
		_, err := to.Write(sent) // the answer's head may come with the first message only
		first <- err
	}()
	a, err := t.RoundTrip(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	back := make([]byte, len(sent))
	if a.StatusCode != http.StatusOK || a.Header.Get("Grpc-Status") != "" {
		return fmt.Errorf("answered %s, grpc-status %q", a.Status, a.Header.Get("Grpc-Status"))
	}
	if _, err := io.ReadFull(a.Body, back); err != nil {
		return errors.Join(err, <-first)
	}
	open()
	for ctx.Err() == nil {
		began := p.next()
		_, err := to.Write(sent)
		if err == nil {
			_, err = io.ReadFull(a.Body, back)
		}
		if err == nil && !bytes.Equal(back, sent) {
			err = errors.New("another message came back")
		}
		if err != nil {
			return err
		}
		watch.add(time.Since(began), nil)
	}
	to.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		return err
	}
	if status := a.Trailer.Get("Grpc-Status"); status != "0" {
		return fmt.Errorf("ended with grpc-status %q", status)
	}
	return nil
}
