package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"serai/front"
	"serai/proxy/http1"
	"serai/wire"
	"serai/wire/socket"
)

// listener is one address that takes requests.
type listener struct {
	name   string
	server *front.Server
	port   net.Listener
}

// listen binds all addresses, so that a port that is taken ends the start.
func (s *system) listen(limits wire.Limits) error {
	engine, err := http1.NewEngine(s.proxy, http1.Options{
		Limits: limits, HeadTimeout: s.HeadTimeout.value(), BodyIdle: s.BodyIdle.value(), MinRate: orNever(s.MinRate),
		KeepAlive: s.KeepAlive.value(), WriteIdle: s.WriteIdle.value(),
	})
	if err != nil {
		return &usageError{err}
	}
	engines := map[string]front.Engine{"": engine, "http/1.1": engine, "http/1.0": engine}
	if s.engine2, err = s.newHTTP2(limits); err != nil {
		return &usageError{err}
	}
	if s.HTTP2 == "on" {
		engines["h2"] = s.engine2
	}
	if s.H2C == "on" {
		engines[front.HTTP2] = s.engine2
	}
	o := front.Options{
		Engines:          engines,
		HandshakeTimeout: s.HeadTimeout.value(), WriteIdle: s.WriteIdle.value(), MaxHandshakes: s.MaxHandshakes,
		MaxConns: s.MaxConnections, MaxConnsPerClient: s.MaxConnectionsPerClient,
		Clients: s.open, Count: s.proxy.Count, Logger: s.logger,
	}
	if s.certs != nil {
		o.OnHandshake = s.certs.Handshaken
	}
	if o.MaxConns == 0 {
		if o.MaxConns = s.share.clients; s.HTTP != "" && s.HTTPS != "" && s.certs != nil {
			o.MaxConns -= s.share.clients / 4 // so that a flood of one leaves something for the other
		}
	}
	add := func(name, address string, wrap func(net.Listener) net.Listener) error {
		server, err := front.NewServer(o)
		if err != nil {
			return &usageError{err}
		}
		port, err := s.openPort(name, address)
		if err != nil {
			return err
		}
		s.traffic = append(s.traffic, &listener{name, server, wrap(port)})
		return nil
	}
	announced := func(l net.Listener) net.Listener {
		return front.AcceptProxyProtocol(l, prefixes(s.ProxyProtocolFrom), s.HeadTimeout.value())
	}
	var errs []error
	if s.HTTP != "" {
		errs = append(errs, add("http", s.HTTP, announced))
	}
	if s.HTTPS != "" && s.certs != nil {
		errs = append(errs, add("https", s.HTTPS, func(l net.Listener) net.Listener {
			return socket.NewTLSListener(announced(l), s.certs.Config(s.tlsOptions()))
		}))
	}
	s.adminPort, err = s.listenAside("admin", s.Admin)
	errs = append(errs, err)
	s.metricsPort, err = s.listenAside("metrics", s.Metrics)
	return errors.Join(append(errs, err)...)
}

// openPort opens the address of a listener.
func (s *system) openPort(name, address string) (net.Listener, error) {
	s.bound = append(s.bound, name)
	if s.bind != nil {
		return boundNowhere{}, s.bind(address, name)
	}
	port, err := bind(address, name, s.ReusePort, s.WriteIdle.value())
	if err != nil {
		return nil, err
	}
	s.own.add(name, port)
	return port, nil
}

// listenAside binds the address of a listener that takes no requests of clients; nil for
// an empty one.
func (s *system) listenAside(name, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	port, err := s.openPort(name, address)
	if err != nil {
		return nil, err
	}
	return newCrowd(port, s.share.admin, s.WriteIdle.value(), &s.madeRoom), nil
}

// serveAdmin serves health, metrics and the rest to the very end.
func (s *system) serveAdmin(ctx context.Context) error {
	s.adminAccess.warnOpen(s.adminPort.Addr(), s.logger)
	return s.serveAside(ctx, "admin", s.adminAccess.listen(s.adminPort), s.admin.Handler())
}

// serveMetrics serves metrics alone, to the very end.
func (s *system) serveMetrics(ctx context.Context) error {
	return s.serveAside(ctx, "metrics", s.metricsPort, s.admin.MetricsHandler())
}

func (s *system) serveAside(ctx context.Context, name string, port net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: counted(handler), ConnContext: keepAside, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	s.logger.Info("listening", "listener", name, "address", port.Addr().String())
	ended := context.AfterFunc(ctx, func() { server.Close() })
	defer ended()
	if err := server.Serve(port); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
