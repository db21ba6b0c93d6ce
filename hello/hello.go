// Package hello answers what a sample service answers: who it is and what it
// received. On request it also streams, waits, echoes and fails, over HTTP/1 and,
// but for /ws, over HTTP/2 without TLS (h2c, by prior knowledge).
//
//	/healthz         200
//	/echo            the body of the request, as it comes
//	/slow?wait=2s    waits before it answers
//	/sse?every=100ms events; ?count=N ends them
//	/ws              a WebSocket that echoes messages
//	/status/503      that status
//	/bytes/1000      that many bytes
//
// Every other path tells what was received: text, or JSON where Accept names
// application/json. Over HTTP/2 it speaks gRPC, too: serai.hello.v1.Echo (see package
// echo), grpc.health.v1.Health and reflection.
package hello

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Options describe the service. Zero values mean the defaults given here.
type Options struct {
	// Addr is HOST:PORT to listen on; ":8080". Only Run reads it.
	Addr string
	// Name is part of the answers; "hello".
	Name string
	// Alloc and Node are part of the answers; they may be empty.
	Alloc, Node string
	// Grace is how long requests are still accepted after ctx has ended, because they
	// may be on their way; 100ms. A service that closes at once loses them, and nobody
	// may repeat those that are not idempotent (RFC 9110 section 9.2.2).
	Grace time.Duration
	// ShutdownTimeout is how long requests in flight may take after that; 10s. What is
	// left then is cut.
	ShutdownTimeout time.Duration
	// Logger gets the start, and errors of clients at level debug; nil discards it.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Addr != "" {
		if _, port, err := net.SplitHostPort(o.Addr); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("address %q is not HOST:PORT", o.Addr))
		}
	}
	if o.Grace < 0 {
		errs = append(errs, fmt.Errorf("grace %v is negative", o.Grace))
	}
	if o.ShutdownTimeout < 0 {
		errs = append(errs, fmt.Errorf("shutdown timeout %v is negative", o.ShutdownTimeout))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	o.Addr = cmp.Or(o.Addr, ":8080")
	o.Name = cmp.Or(o.Name, "hello")
	o.Grace = cmp.Or(o.Grace, 100*time.Millisecond)
	o.ShutdownTimeout = cmp.Or(o.ShutdownTimeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Run listens on o.Addr and calls Serve.
func Run(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("options of the sample service: %w", err)
	}
	o.setDefaults()
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen for the sample service: %w", err)
	}
	return Serve(ctx, l, o)
}

// requestIsKnown is the longest time from the read of a request until fasthttp no
// longer takes its connection for an idle one.
const requestIsKnown = 20 * time.Millisecond

// Serve serves l until ctx ends, and for o.Grace longer with answers that close their
// connections. Then it accepts no more, closes idle connections, ends endless streams
// and WebSockets, and lets the rest finish within o.ShutdownTimeout. It closes l. It
// returns when nothing runs any more, nil if everything has finished in time.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	if err := o.Validate(); err != nil {
		l.Close()
		return fmt.Errorf("options of the sample service: %w", err)
	}
	o.setDefaults()
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	over, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s := newService(o, stopping, over)
	logger := slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug)
	server := &fasthttp.Server{
		Handler: s.serve, ConnState: s.conns.observe, Name: "serai-hello",
		StreamRequestBody: true, DisablePreParseMultipartForm: true, MaxRequestBodySize: maxBody,
		ReadBufferSize: maxHead, CloseOnShutdown: true,
		Logger: logger,
	}
	over2 := newOverHTTP2(s)
	over2.server.ErrorLog = logger
	in := newEntrance(l.Addr())
	accepting := make(chan error, 1)
	go func() { accepting <- in.accept(l) }()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(in.http1) })
	serving.Go(func() { over2.server.Serve(in.http2) })
	o.Logger.Info("sample service", "name", o.Name, "alloc", o.Alloc, "address", l.Addr().String())

	var failed error
	select {
	case failed = <-accepting:
		l.Close()
	case <-ctx.Done():
		time.Sleep(o.Grace)
		// The server would not close it before it has begun to serve.
		l.Close()
		<-accepting
	}
	in.end()
	stop()
	s.conns.endIdle()
	time.Sleep(requestIsKnown)
	last, cancel := context.WithTimeout(over, o.ShutdownTimeout)
	defer cancel()
	left2 := make(chan int)
	go func() { left2 <- over2.stop(last) }()
	server.ShutdownWithContext(last) // its errors are a second close of l, and what conns counts
	left := s.conns.wait(last, cut) + <-left2
	serving.Wait()
	switch {
	case failed != nil:
		return fmt.Errorf("accept for the sample service: %w", failed)
	case left > 0:
		return fmt.Errorf("stop the sample service: %d in flight were cut after %v", left, o.ShutdownTimeout)
	}
	return nil
}
