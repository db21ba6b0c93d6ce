package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"serai/admin"
	"serai/claims"
	"serai/discovery"
	"serai/front"
	"serai/internal/memory"
	"serai/internal/quota"
	"serai/nomad"
	"serai/proxy"
	"serai/proxy/http1"
	"serai/router"
	"serai/tls"
	"serai/upstream"
	upstreamhttp1 "serai/upstream/http1"
	upstreamhttp2 "serai/upstream/http2"
	"serai/wire"
	"serai/wire/socket"
)

// system is all parts of the ingress, put together.
type system struct {
	*serveCommand
	env    *environment
	logger *slog.Logger

	registry  *upstream.Registry
	router    *router.Router
	builder   *router.Builder
	source    discovery.Source
	cache     *discovery.Cache // nil without a state directory
	claims    *claims.Keeper   // nil without Nomad
	client    *nomad.Client    // nil without Nomad
	proxy     *proxy.Proxy
	accessLog *proxy.AccessLog // nil when it is off
	logFile   *logFile         // nil when the access log is no file
	certs     *tls.Store       // nil without a certificate source
	clients   *tls.Clients     // nil when no host demands certificates of clients
	obtain    obtainer         // nil when no certificate is obtained
	shared    bool             // its store is Nomad's
	admin     *admin.Admin
	own       ownAddresses
	traffic   []*listener
	adminPort net.Listener // nil when it is off
	share     descriptors
	conns     quota.Quota    // of clients, of share.clients
	memory    *memory.Budget // of clients, nil for no limit

	first chan struct{}   // closed with the first table
	reads []chan struct{} // closed when what else a start waits for has been read
}

// listener is one address that takes requests.
type listener struct {
	name   string
	server *front.Server
	port   net.Listener
}

// transports returns what makes the transport that an endpoint's scheme asks for.
func transports(maxStreams int) func(*upstream.Endpoint, upstream.Keeping) upstream.Transport {
	multiplexed := upstreamhttp2.New(upstreamhttp2.Options{Streams: maxStreams})
	return func(e *upstream.Endpoint, k upstream.Keeping) upstream.Transport {
		if e.Target().Scheme.HTTP2() {
			return multiplexed(e, k)
		}
		return upstreamhttp1.New(e, k)
	}
}

// newSystem makes all parts and binds the addresses. What is wrong with the
// settings is reported at once.
func newSystem(c *serveCommand, env *environment, limit int64, logger *slog.Logger) (s *system, err error) {
	s = &system{serveCommand: c, env: env, logger: logger, router: router.NewRouter(), first: make(chan struct{}), share: shareDescriptors(descriptorLimit())}
	waiting := c.MaxWaitingBytes
	if limit > 0 {
		s.memory, waiting = memory.NewBudget(limit/20*clientShare), min(waiting, limit/8)
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	registry := upstream.RegistryOptions{
		ConnectTimeout: c.ConnectTimeout.value(), WriteIdle: c.WriteIdle.value(), IdleTimeout: c.UpstreamIdle.value(), MaxIdle: orNever(c.UpstreamMaxIdle),
		MaxWaiting: c.MaxWaiting, MaxWaitingBytes: waiting, EjectAfter: orNever(c.EjectAfter), EjectShare: c.EjectShare,
		EjectTime: c.EjectTime.value(), SlowStart: orNever(c.SlowStart.value()), Probes: c.Probes, ProbeRate: c.ProbeRate, JobProbeRate: c.JobProbeRate,
		MinCheckInterval: orNever(c.MinCheckInterval.value()), MaxCheckTime: c.MaxCheckTime.value(), MaxConns: s.share.instances, Memory: s.memory, Logger: logger, Transport: transports(c.UpstreamMaxStreams),
	}
	registry.StickyKey, err = readSecret("sticky-key-file", c.StickyKeyFile)
	var status func() bool // set once admin exists
	errs := []error{err, registry.Validate()}
	s.registry = upstream.NewRegistry(registry)
	s.builder, err = router.NewBuilder(s.router, router.Options{
		Registry: s.registry, Prefix: c.TagPrefix, Class: c.Class, Node: c.Node,
		Datacenter: cmp.Or(c.Datacenter, env.getenv("NOMAD_DC")), Owners: c.namespaceHosts,
		Share: c.shares, SharedHosts: c.SharedHosts, Reserved: c.reservedPaths(), Quotas: c.Quotas.limits(),
		Linger: c.Linger.value(), HTTPSOnly: c.HTTPSOnly, Networks: prefixes(c.UpstreamNetworks), NoLoopback: nodeHasAddress(env.getenv), Own: s.own.name, Logger: logger,
	})
	errs = append(errs, err)
	errs = append(errs, s.newSource())
	limits := wire.Limits{Head: c.MaxHead, Fields: c.MaxFields, Target: c.MaxTarget}
	s.accessLog, err = s.openAccessLog()
	errs = append(errs, err)
	o := proxy.Options{
		Router: s.router, TrustedProxies: prefixes(c.TrustedProxies), TrustedFields: c.TrustedFields, Via: c.Via, ReadyPath: c.ReadyPath,
		Ready: func() bool { return status() }, Limits: limits, MaxInterim: c.MaxInterim, RetryShare: c.RetryShare, MaxHops: c.MaxHops, Splice: c.Splice,
		RequestBodyIdle: c.BodyIdle.value(), WriteIdle: c.WriteIdle.value(), TunnelIdle: c.TunnelIdle.value(), Logger: logger,
	}
	if s.accessLog != nil {
		o.Log = s.accessLog.Log
	}
	errs = append(errs, s.openCertificates())
	if s.certs != nil {
		o.Shares = func(secure bool, name, host string) bool { return s.certs.Shares(s.clients, secure, name, host) }
		o.SharesPlain = s.clients != nil
	}
	if s.obtain != nil {
		o.Challenge = s.obtain.AnswerHTTP
	}
	s.proxy, err = proxy.New(o)
	errs = append(errs, err)
	if err = errors.Join(errs...); err != nil {
		return s, &usageError{err}
	}
	if err := s.listen(limits); err != nil {
		return s, err
	}
	a := admin.Options{Router: s.router, Registry: s.registry, Proxy: s.proxy, Sources: []admin.Reporter{s.source}, Version: version(), Logger: logger}
	for _, l := range s.traffic {
		a.Listeners = append(a.Listeners, admin.Listener{Name: l.name, Status: l.server.Status})
	}
	if s.accessLog != nil {
		a.AccessLogDropped = s.accessLog.Dropped
	}
	a.Memory = s.memory
	a.Clients = func() (open, limit int) { return int(s.conns.Taken()), s.share.clients }
	if s.claims != nil {
		a.Claims = s.claims.Status
	}
	a.Certificates = s.certs
	if s.obtain != nil {
		a.Obtain = s.obtain
	}
	if s.admin, err = admin.New(a); err != nil {
		return s, err
	}
	status = s.admin.Ready
	return s, nil
}

// orNever turns a flag's 0, which switches something off, into what the parts
// take for that: their 0 is the default.
func orNever[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// readSecret reads a file with a secret, nil when none is named.
func readSecret(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(secret)) < 16 {
		err = errors.New("a secret wants at least 16 bytes")
	}
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, path, err)
	}
	return bytes.TrimSpace(secret), nil
}

func (s *system) openAccessLog() (*proxy.AccessLog, error) {
	switch s.AccessLog {
	case "off", "":
		return nil, nil
	case "stdout":
		return s.newAccessLog(s.env.stdout), nil
	}
	file, err := openLogFile(s.AccessLog)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	s.logFile = file
	return s.newAccessLog(file), nil
}

func (s *system) newAccessLog(w io.Writer) *proxy.AccessLog {
	l := proxy.NewAccessLog(w, s.AccessLogSample)
	l.Query, l.Checks, l.Logger = proxy.Query(s.AccessLogQuery), s.AccessLogChecks, s.logger
	return l
}

// listen binds all addresses, so that a port that is taken ends the start.
func (s *system) listen(limits wire.Limits) error {
	engine, err := http1.NewEngine(s.proxy, http1.Options{
		Limits: limits, HeadTimeout: s.HeadTimeout.value(), BodyIdle: s.BodyIdle.value(), MinRate: orNever(s.MinRate),
		KeepAlive: s.KeepAlive.value(), WriteIdle: s.WriteIdle.value(), Memory: s.memory,
	})
	if err != nil {
		return &usageError{err}
	}
	o := front.Options{
		Engines:          map[string]front.Engine{"": engine, "http/1.1": engine},
		HandshakeTimeout: s.HeadTimeout.value(), WriteIdle: s.WriteIdle.value(), MaxHandshakes: s.MaxHandshakes,
		MaxConns: s.MaxConnections, MaxConnsPerClient: s.MaxConnectionsPerClient,
		Shared: &s.conns, MaxShared: s.share.clients, Memory: s.memory, Count: s.proxy.Count, Logger: s.logger,
	}
	if s.certs != nil {
		o.Handshaken = s.certs.Handshaken
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
		port, err := bind(address, name, s.ReusePort, s.WriteIdle.value())
		if err != nil {
			return err
		}
		s.own.add(name, port)
		s.traffic = append(s.traffic, &listener{name, server, wrap(port)})
		return nil
	}
	announced := func(l net.Listener) net.Listener {
		return front.AcceptProxyProtocol(l, prefixes(s.ProxyProtocolFrom), s.HeadTimeout.value())
	}
	if s.HTTP != "" {
		if err := add("http", s.HTTP, announced); err != nil {
			return err
		}
	}
	if s.HTTPS != "" && s.certs != nil {
		err := add("https", s.HTTPS, func(l net.Listener) net.Listener {
			return socket.NewTLSListener(announced(l), s.certs.Config(s.tlsOptions()))
		})
		if err != nil {
			return err
		}
	}
	if s.Admin == "" {
		return nil
	}
	if s.adminPort, err = bind(s.Admin, "admin", s.ReusePort, s.WriteIdle.value()); err == nil {
		s.own.add("admin", s.adminPort)
		s.adminPort = netutil.LimitListener(s.adminPort, s.share.admin)
	}
	return err
}

// run serves until ctx ends, drains, and ends everything.
func (s *system) run(ctx context.Context) error {
	defer s.close()
	parts, end := context.WithCancelCause(context.Background())
	running := newParts()
	start := func(name string, part func(context.Context) error) {
		running.start(name, func() {
			if err := part(parts); err != nil && parts.Err() == nil {
				end(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	defer func() {
		end(nil)
		if left := running.wait(partsEnd); left != "" {
			s.logger.Warn("serai ends although parts of it have not: a file or directory of theirs hangs", "parts", left)
		}
	}()

	start("endpoints", s.registry.Run)
	if s.cache != nil {
		start("cache", s.cache.Run)
	}
	if s.claims != nil {
		start("claims", s.claims.Run)
	}
	if s.accessLog != nil {
		start("access log", s.accessLog.Run)
	}
	start("hangup", s.onHangup)
	if s.CertDir != "" {
		files := &tls.Files{Dir: s.CertDir, Read: s.awaited(), Logger: s.logger}
		start("certificate files", func(ctx context.Context) error { return files.Run(ctx, s.certs) })
	}
	if s.obtain != nil {
		start("certificates", s.obtain.Run)
	}
	snapshots := make(chan *discovery.Snapshot)
	start("discovery", func(ctx context.Context) error { return s.source.Run(ctx, snapshots) })
	start("routes", func(ctx context.Context) error { return s.follow(ctx, snapshots) })
	if s.adminPort != nil {
		start("admin", s.serveAdmin)
	}
	start("checks", s.checkNomad)

	// Until the services and the certificates are known, connections wait in
	// the kernel: a restart answers nothing wrong.
	s.await(ctx, parts)
	for _, l := range s.traffic {
		start(l.name, func(ctx context.Context) error { return l.server.Serve(ctx, l.port) })
		s.logger.Info("listening", "listener", l.name, "address", l.port.Addr().String())
	}
	select {
	case <-ctx.Done():
	case <-parts.Done():
		return context.Cause(parts)
	}
	s.drain(parts)
	return nil
}

// awaited returns what is to be called, once or more, when something has been
// read that a start waits for.
func (s *system) awaited() func() {
	read := make(chan struct{})
	s.reads = append(s.reads, read)
	return sync.OnceFunc(func() { close(read) })
}

// patience is how long a start waits for what it should know before it answers.
const patience = 5 * time.Second

// await waits until the services and the certificates are known, or long
// enough.
func (s *system) await(ctx, parts context.Context) {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	without := "the services are not known yet: answering 503 until they are"
	for _, known := range append([]chan struct{}{s.first}, s.reads...) {
		select {
		case <-known:
		case <-ctx.Done():
			return
		case <-parts.Done():
			return
		case <-enough.C:
			s.logger.Warn(without)
			return
		}
		without = "the certificates are not known yet: refusing names until they are"
	}
}

// drain lets load balancers notice, then lets requests end.
func (s *system) drain(parts context.Context) {
	s.admin.Drain()
	s.logger.Info("stopping: not ready any more, still serving", "drain-delay", s.DrainDelay.value())
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-parts.Done():
		}
	}
	// By half of the time the balancer sends new connections elsewhere: so may
	// the requests of those that are open.
	pause(s.DrainDelay.value() / 2)
	for _, l := range s.traffic {
		l.server.Retire()
	}
	pause(s.DrainDelay.value() / 2)
	ctx, cancel := context.WithTimeout(context.Background(), s.DrainTimeout.value())
	defer cancel()
	var servers sync.WaitGroup
	for _, l := range s.traffic {
		servers.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				s.logger.Warn("requests were cut", "listener", l.name, "error", err)
			}
		})
	}
	servers.Wait()
	s.logger.Info("stopped")
}

// serveAdmin serves health, metrics and the rest to the very end.
func (s *system) serveAdmin(ctx context.Context) error {
	server := &http.Server{
		Handler: s.admin.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	s.logger.Info("listening", "listener", "admin", "address", s.adminPort.Addr().String())
	ended := context.AfterFunc(ctx, func() { server.Close() })
	defer ended()
	if err := server.Serve(s.adminPort); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// close gives back what newSystem took.
func (s *system) close() {
	for _, l := range s.traffic {
		l.port.Close()
	}
	if s.adminPort != nil {
		s.adminPort.Close()
	}
	if s.logFile != nil {
		s.logFile.Close()
	}
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}
