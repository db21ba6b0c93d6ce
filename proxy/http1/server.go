// Package http1 answers: how does HTTP/1 reach the proxy?
//
// It is a thin engine: it accepts connections, parses heads into Exchanges,
// writes answers, and keeps the time. Everything that is not HTTP/1's own is
// package proxy's.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/quota"
	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// Options is what a Server needs. Zero values mean the defaults named.
type Options struct {
	// Limits bound request heads; wire.DefaultLimits when zero.
	Limits wire.Limits
	// HeadTimeout bounds a head from its first byte, 10s. BodyIdle bounds each
	// wait for more of a body, 30s. KeepAlive bounds the wait for a request,
	// 75s. WriteIdle bounds each wait for the client to take more, 30s.
	HeadTimeout, BodyIdle, KeepAlive, WriteIdle time.Duration
	// MinRate is how many bytes of a body the client is to send a second, 100, on
	// average over BodyIdle; negative for none.
	MinRate int
	// MaxConns bounds the connections of one Server, MaxConnsPerClient those
	// of one address. Zero means no limit.
	MaxConns, MaxConnsPerClient int
	// Shared counts the connections of several Servers, of which there may be
	// MaxShared together; nil for none.
	Shared    *quota.Quota
	MaxShared int
	// Handshaken is told of each TLS handshake, its state or its error; nil for
	// nobody.
	Handshaken func(*tls.ConnectionState, error)
	// Logger gets what an operator must know; nil discards it.
	Logger *slog.Logger
}

// Validate reports all that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"head timeout", o.HeadTimeout}, {"body idle timeout", o.BodyIdle}, {"keep-alive timeout", o.KeepAlive},
		{"write idle timeout", o.WriteIdle},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %v is negative", d.name, d.value))
		}
	}
	if o.Limits.Head < 0 || o.Limits.Head > socket.LargeBuffer {
		errs = append(errs, fmt.Errorf("head limit %d is not within 1 and %d bytes", o.Limits.Head, socket.LargeBuffer))
	}
	if o.MaxConns < 0 || o.MaxConnsPerClient < 0 {
		errs = append(errs, errors.New("a connection limit is negative"))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Limits == (wire.Limits{}) {
		o.Limits = wire.DefaultLimits()
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&o.HeadTimeout, 10 * time.Second}, {&o.BodyIdle, 30 * time.Second}, {&o.KeepAlive, 75 * time.Second},
		{&o.WriteIdle, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if o.MinRate == 0 {
		o.MinRate = 100
	}
	if o.Handshaken == nil {
		o.Handshaken = func(*tls.ConnectionState, error) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server serves HTTP/1 on listeners. It can be drained once.
type Server struct {
	proxy    *proxy.Proxy
	options  Options
	retiring atomic.Bool // every answer ends its connection
	accepted atomic.Uint64
	refused  atomic.Uint64
	errors   atomic.Uint64 // of accept

	exchanges sync.Pool

	mu        sync.Mutex
	conns     map[*conn]struct{}
	perClient map[clientKey]int
	listeners map[net.Listener]struct{}
	serving   sync.WaitGroup // Serve, for each listener
	watching  sync.WaitGroup // watch
	unwatched chan struct{}  // closed when there is nothing left to watch, nil while watch does not run
	stopped   bool           // Shutdown has been called
	draining  bool           // and no listener accepts any more
	empty     chan struct{}  // closed when draining and no connection is left
}

// NewServer makes a Server that hands its requests to p.
func NewServer(p *proxy.Proxy, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("http1 options: %w", err)
	}
	o.setDefaults()
	s := &Server{proxy: p, options: o, conns: make(map[*conn]struct{}),
		perClient: make(map[clientKey]int), listeners: make(map[net.Listener]struct{}), empty: make(chan struct{})}
	s.exchanges.New = func() any { return newSession() }
	return s, nil
}

// Serve accepts connections from l until ctx ends or Shutdown is called, and
// then closes l. It returns nil in both cases. Connections go on: see
// Shutdown. A failed accept is waited out.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.track(l) {
		l.Close()
		return nil
	}
	defer s.untrack(l)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	const first, longest = 5 * time.Millisecond, 500 * time.Millisecond
	pause := first
	for shard := 0; ; shard++ {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = first
			s.accept(c, shard)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			// Most often no descriptor is left: the connections that there
			// are go on, and one that ends makes room.
			if s.errors.Add(1); pause == first {
				s.options.Logger.Warn("accepting a connection failed; trying again", "listener", l.Addr().String(), "error", err)
			}
			time.Sleep(pause)
			pause = min(pause*2, longest)
		}
	}
}

// Retire makes every answer from now on the last of its connection, and goes on
// accepting. Clients then come back over connections that the load balancer
// makes elsewhere, and the fewer are left when Shutdown closes idle ones, the
// fewer are closed in the very moment in which a request is on its way.
func (s *Server) Retire() { s.retiring.Store(true) }

// Shutdown stops accepting, lets every connection end after the answer that is
// under way, and closes idle ones. It returns when none is left; when ctx ends
// first, it closes those that remain and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	// From here on no answer keeps its connection, so that who sees the
	// listeners closed never gets one that does.
	s.Retire()
	s.mu.Lock()
	s.stopped = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.serving.Wait() // they may still accept what had come: it is answered
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
	s.signalEmpty()
	s.mu.Unlock()
	defer s.watching.Wait()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := len(s.conns)
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	<-s.empty
	return fmt.Errorf("drain: %d connections were cut: %w", left, context.Cause(ctx))
}

// signalEmpty ends the watch when nothing is left to watch, and closes empty when
// the drain is over. s.mu is held.
func (s *Server) signalEmpty() {
	if s.unwatched != nil && len(s.conns) == 0 && len(s.listeners) == 0 {
		close(s.unwatched)
		s.unwatched = nil
	}
	if s.draining && len(s.conns) == 0 {
		select {
		case <-s.empty:
		default:
			close(s.empty)
		}
	}
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.serving.Add(1)
	s.listeners[l] = struct{}{}
	if s.unwatched == nil {
		end := make(chan struct{})
		s.unwatched = end
		s.watching.Go(func() { s.watch(end) })
	}
	return true
}

func (s *Server) untrack(l net.Listener) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.signalEmpty()
	s.serving.Done()
}

// ServerStatus is what is known of a Server at one moment.
type ServerStatus struct {
	Conns        int    // open
	Accepted     uint64 // so far
	Refused      uint64 // because of a limit
	AcceptErrors uint64
}

// Status returns what is known of the server.
func (s *Server) Status() ServerStatus {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	return ServerStatus{Conns: n, Accepted: s.accepted.Load(), Refused: s.refused.Load(), AcceptErrors: s.errors.Load()}
}
