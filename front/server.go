// Package front answers: who connects?
//
// A Server accepts connections, enforces limits, identifies the peer (PROXY protocol, TLS,
// ALPN), passes each connection to the engine of its protocol, and drains. All of this is
// the same for every protocol.
package front

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
)

// Options are the options of a Server. Zero values mean the defaults given here.
type Options struct {
	// Engines are the engines, by the protocol that ALPN selects (RFC 7301). The one for
	// "" is required: it serves connections without TLS, and clients that use no ALPN. A
	// connection whose protocol has no engine ends after its handshake.
	Engines map[string]Engine
	// HandshakeTimeout bounds a TLS handshake, 10s. WriteIdle bounds how long a client
	// may take to read the last bytes when its connection ends, 30s.
	HandshakeTimeout, WriteIdle time.Duration
	// MaxHandshakes bounds the TLS handshakes in progress. Zero means no limit.
	MaxHandshakes int
	// MaxConns bounds the connections of one Server, MaxConnsPerClient those of one
	// client: an IPv4 address or the /64 of an IPv6 address. Zero means no limit.
	MaxConns, MaxConnsPerClient int
	// Clients bounds what the clients of several Servers use together; nil means no
	// limit.
	Clients *Clients
	// OnHandshake is called after each TLS handshake with its state or its error; nil
	// for none.
	OnHandshake func(*tls.ConnectionState, error)
	// Count is called with the reason why a connection ended before it had an engine;
	// nil for none.
	Count func(proxy.Reason)
	// Logger gets what an operator must know; nil discards it.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Engines[""] == nil {
		errs = append(errs, errors.New("no engine for connections without TLS"))
	}
	if o.HandshakeTimeout < 0 || o.WriteIdle < 0 {
		errs = append(errs, errors.New("a timeout is negative"))
	}
	if o.MaxConns < 0 || o.MaxConnsPerClient < 0 || o.MaxHandshakes < 0 {
		errs = append(errs, errors.New("a limit of connections or handshakes is negative"))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.WriteIdle == 0 {
		o.WriteIdle = 30 * time.Second
	}
	if o.OnHandshake == nil {
		o.OnHandshake = func(*tls.ConnectionState, error) {}
	}
	if o.Clients == nil {
		o.Clients = NewClients(nil, 0)
	}
	if o.Count == nil {
		o.Count = func(proxy.Reason) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server serves the connections of listeners. It can be drained once.
type Server struct {
	options  Options
	retiring atomic.Bool // every answer ends its connection
	accepted atomic.Uint64
	refused  atomic.Uint64
	recalled atomic.Uint64 // idle connections that were ended to make room
	errors   atomic.Uint64 // failed accepts

	handshakes handshakes
	own        *Clients     // for MaxConns
	broken     quota.Seldom // lines about wrong PROXY headers

	ended sync.Pool // of *Conn, to be reused

	mu        sync.Mutex
	conns     map[*Conn]struct{}
	listeners map[net.Listener]struct{}
	serving   sync.WaitGroup // calls of Serve
	running   sync.WaitGroup // calls of watch and workers.run
	unwatched chan struct{}  // closed when no listener and no connection is left; nil while watch does not run
	workers   *workers       // while watch runs
	stopped   bool           // Shutdown was called
	draining  bool           // no listener accepts any more
	empty     chan struct{}  // closed when draining and no connection is left
}

// NewServer makes a Server.
func NewServer(o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("front options: %w", err)
	}
	o.setDefaults()
	return &Server{options: o, handshakes: handshakes{limit: o.MaxHandshakes}, conns: make(map[*Conn]struct{}),
		own: NewClients(nil, o.MaxConns), listeners: make(map[net.Listener]struct{}), empty: make(chan struct{})}, nil
}

// Serve accepts connections from l until ctx ends or Shutdown is called, and then
// closes l. It returns nil in both cases. Connections go on: see Shutdown. After a
// failed accept it waits and tries again.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	w := s.track(l)
	if w == nil {
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
			s.accept(c, shard, w)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			// Usually no descriptor is left. The open connections go on, and
			// each one that ends makes room.
			if s.errors.Add(1); pause == first {
				s.options.Logger.Warn("accepting a connection failed; trying again", "listener", l.Addr().String(), "error", err)
			}
			time.Sleep(pause)
			pause = min(pause*2, longest)
		}
	}
}

// Retire makes every answer from now on the last one of its connection, and goes on
// accepting. The clients' next connections go where the load balancer sends them. So
// fewer connections are left when Shutdown closes idle ones, and fewer are closed just
// when a request is on its way.
func (s *Server) Retire() { s.retiring.Store(true) }

// Shutdown stops accepting, lets every connection end after its current answer, and
// closes idle ones. It returns when none is left. When ctx ends first, it cuts the
// remaining ones and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	// From here on no answer keeps its connection. So after the listeners are closed, no
	// client gets an answer that promises to keep its connection.
	s.Retire()
	s.mu.Lock()
	s.stopped = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.serving.Wait() // they still accept and answer what is in their queues
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
	s.signalEmpty()
	s.mu.Unlock()
	defer s.running.Wait()
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

// signalEmpty ends watch when nothing is left to watch, and closes empty when the drain
// is over. s.mu is held.
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

// track adds l. It returns the workers for its connections, nil when nothing is accepted any more.
func (s *Server) track(l net.Listener) *workers {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.serving.Add(1)
	s.listeners[l] = struct{}{}
	if s.unwatched == nil {
		end, w := make(chan struct{}), &workers{next: make(chan *Conn)}
		s.unwatched, s.workers = end, w
		s.running.Go(func() { s.watch(end, w) })
	}
	return s.workers
}

func (s *Server) untrack(l net.Listener) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.signalEmpty()
	s.serving.Done()
}

// Status is the state of a Server at one moment.
type Status struct {
	Conns        int    // open connections
	Accepted     uint64 // since the start
	Refused      uint64 // because of a limit
	Recalled     uint64 // idle connections that were ended to make room
	AcceptErrors uint64
	// Handshakes are in progress. HandshakesRefused were refused, or ended because they
	// were slow, while the limit was reached.
	Handshakes        int
	HandshakesRefused uint64
}

// Status returns the state of the server.
func (s *Server) Status() Status {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	st := Status{Conns: n, Accepted: s.accepted.Load(), Refused: s.refused.Load(), Recalled: s.recalled.Load(), AcceptErrors: s.errors.Load()}
	st.Handshakes, st.HandshakesRefused = s.handshakes.count()
	return st
}
