package main

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"serai/admin"
	"serai/claims"
	"serai/consul"
	"serai/discovery"
	"serai/front"
	"serai/internal/coding"
	"serai/internal/history"
	"serai/internal/memory"
	"serai/mesh"
	"serai/nomad"
	"serai/policy"
	"serai/proxy"
	"serai/proxy/http2"
	"serai/router"
	"serai/tls"
	"serai/tracing"
	"serai/upstream"
	"serai/wire"
)

// system is all parts of the ingress, put together.
type system struct {
	*serveCommand
	env    *environment
	logger *slog.Logger

	registry    *upstream.Registry
	router      *router.Router
	builder     *router.Builder
	source      discovery.Source
	caches      []*discovery.Cache // of sources; none without a state directory
	store       *discovery.Store   // of registrations; nil without Nomad and Consul
	claims      *claims.Keeper     // nil without Nomad
	client      *nomad.Client      // nil without Nomad
	consul      *consul.Client     // nil without Consul
	mesh        *mesh.Mesh         // nil without Consul
	proxy       *proxy.Proxy
	engine2     *http2.Engine    // of clients over HTTP/2
	accessLog   *proxy.AccessLog // nil when it is off
	logFile     *logFile         // nil when the access log is no file
	certs       *tls.Store       // nil without a certificate source
	clients     *tls.Clients     // nil when no host demands certificates of clients
	obtain      obtainer         // nil when no certificate is obtained
	shared      bool             // its store is Nomad's
	admin       *admin.Admin
	own         ownAddresses
	config      *configReloader // nil without a config file
	traffic     []*listener
	adminAccess *adminAccess
	adminPort   net.Listener // nil when it is off, as metricsPort
	metricsPort net.Listener
	madeRoom    atomic.Uint64 // connections of both that were ended
	bound       []string      // the listeners, by their flags
	// bind tries an address for one of them, where none is to be opened; nil opens it.
	bind     func(address, flag string) error
	share    descriptors
	limit    int64             // of the memory of this process, in bytes; 0 for none
	memory   *memory.Budget    // of clients, nil for no limit
	open     *front.Clients    // who has connections
	traces   *tracing.Exporter // nil when nothing is traced, as tracing
	tracing  *proxy.Tracing
	rates    *policy.Rates // what the rate limits of all routes share
	encoders *coding.Encoders
	// policyLimits bound what policies make of messages.
	policyLimits *policy.Limits

	first chan struct{}   // closed with the first table
	reads []chan struct{} // closed when what else a start waits for has been read
}

// newSystem makes all parts and binds the addresses. What is wrong with the
// settings is reported at once.
func newSystem(c *serveCommand, env *environment, limit int64, logger *slog.Logger) (*system, error) {
	s, err := prepare(c, env, limit, logger)
	if err != nil {
		return s, err
	}
	if err = s.listen(s.limits()); err == nil {
		err = s.makeAdmin()
	}
	if err != nil {
		s.close()
	}
	return s, err
}

// limits are those of heads.
func (s *system) limits() wire.Limits {
	return wire.Limits{Head: s.MaxHead, Fields: s.MaxFields, Target: s.MaxTarget}
}

// prepare makes the parts that serve, and binds no address.
func prepare(c *serveCommand, env *environment, limit int64, logger *slog.Logger) (s *system, err error) {
	s = &system{
		serveCommand: c, env: env, logger: logger, limit: limit, router: router.NewRouter(),
		first: make(chan struct{}), share: shareDescriptors(descriptorLimit()),
	}
	rateKeys, compression := int64(c.RateKeys), c.MaxCompressionBytes
	if limit > 0 {
		compression = min(compression, limit/8)
		s.memory = memory.NewBudget(limit / 20 * clientShare)
		rateKeys = min(rateKeys, limit/16/policy.RateKeyBytes)
	}
	s.rates = policy.NewRates(int(rateKeys))
	s.encoders = coding.NewEncoders(compression)
	s.policyLimits = policy.NewLimits(c.Policies.Rewrite, c.Policies.Made)
	s.open = front.NewClients(s.memory, s.share.clients)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	err = errors.Join(
		s.makeConsul(),
		s.makeRegistry(),
		s.makeBuilder(),
		s.newSource(),
		s.makeAccessLog(),
		s.makeTracing(),
		s.makeAdminAccess(),
		s.openCertificates(),
		s.makeProxy(s.limits(), func() bool { return s.admin.Ready() }), // which is there before anybody asks
	)
	if err != nil {
		return s, &usageError{err}
	}
	return s, nil
}

// makeRegistry makes what has the instances.
func (s *system) makeRegistry() error {
	c, waiting := s.serveCommand, s.MaxWaitingBytes
	if s.limit > 0 {
		waiting = min(waiting, s.limit/8)
	}
	key, err := readSecret("sticky-key-file", c.StickyKeyFile)
	o := upstream.RegistryOptions{
		ConnectTimeout: c.ConnectTimeout.value(), WriteIdle: c.WriteIdle.value(), IdleTimeout: c.UpstreamIdle.value(), RepeatableIdle: c.repeatableIdle(), MaxIdle: orNever(c.UpstreamMaxIdle),
		MaxWaiting: c.MaxWaiting, MaxWaitingBytes: waiting, EjectAfter: orNever(c.EjectAfter), EjectShare: c.EjectShare,
		EjectTime: c.EjectTime.value(), SlowStart: orNever(c.SlowStart.value()), Probes: c.Probes, ProbeRate: c.ProbeRate, JobProbeRate: c.JobProbeRate,
		MinCheckInterval: orNever(c.MinCheckInterval.value()), MaxCheckTime: c.MaxCheckTime.value(), MaxConns: s.share.instances,
		StickyKey: key, Logger: s.logger,
		Transport: transports(c.UpstreamMaxStreams, func(cause any, address string) { s.proxy.ConnectionPanicked(cause, address) }),
	}
	if s.mesh != nil {
		o.Mesh = s.mesh
	}
	s.registry = upstream.NewRegistry(o)
	return errors.Join(err, o.Validate())
}

// repeatableIdle is how long an idle connection waits for a request that may be repeated. Who
// has set --upstream-idle alone, to another value than its default, wants no connection to be kept for longer.
func (c *serveCommand) repeatableIdle() time.Duration {
	const usual, repeatable = 4 * time.Second, time.Minute
	switch idle := c.UpstreamIdle.value(); {
	case c.UpstreamIdleRepeatable != 0:
		return c.UpstreamIdleRepeatable.value()
	case idle != usual:
		return idle
	}
	return repeatable
}

// makeBuilder makes what makes the tables.
func (s *system) makeBuilder() (err error) {
	c := s.serveCommand
	s.builder, err = router.NewBuilder(s.router, router.Options{
		Registry: s.registry, Prefix: c.TagPrefix, DefaultHost: c.DefaultHost, Class: c.Class, Node: c.Node, ConsulNode: c.ConsulNode,
		Datacenter: cmp.Or(c.Datacenter, s.env.getenv("NOMAD_DC")), Owners: c.file.namespaceHosts,
		Share: c.file.shares, SharedHosts: c.SharedHosts, Reserved: c.reservedPaths(), Quotas: c.Quotas.limits(s.limit), Catalog: c.file.catalog, Rates: s.rates, Encoders: s.encoders,
		Linger: c.Linger.value(), HTTPSOnly: c.HTTPSOnly, Networks: prefixes(c.UpstreamNetworks), NoLoopback: nodeHasAddress(s.env.getenv),
		Own: s.own.name, Nomad: s.own.nomad, Consul: s.own.consul, Logger: s.logger,
	})
	return err
}

func (s *system) makeAccessLog() (err error) {
	s.accessLog, err = s.openAccessLog()
	return err
}

// makeProxy makes what passes requests on. The certificates have been opened.
func (s *system) makeProxy(limits wire.Limits, ready func() bool) (err error) {
	c := s.serveCommand
	o := proxy.Options{
		Router: s.router, TrustedProxies: prefixes(c.TrustedProxies), TrustedFields: c.TrustedFields, Via: c.Via, ReadyPath: c.ReadyPath,
		Ready: ready, Limits: limits, MaxInterim: c.MaxInterim, RetryShare: c.RetryShare, MaxHops: c.MaxHops, Splice: c.Splice,
		RequestBodyIdle: c.BodyIdle.value(), WriteIdle: c.WriteIdle.value(), TunnelIdle: c.TunnelIdle.value(), Logger: s.logger,
		Pages: c.ErrorPages.options(s.limit, s.memory), PolicyLimits: s.policyLimits, Tracing: s.tracing,
	}
	if s.accessLog != nil {
		o.Log = s.accessLog.Log
	}
	if s.certs != nil {
		o.Shares = func(secure bool, name, host string) bool { return s.certs.Shares(s.clients, secure, name, host) }
		o.SharesPlain = s.clients != nil
	}
	if s.obtain != nil {
		o.Challenge = s.obtain.AnswerHTTP
	}
	s.proxy, err = proxy.New(o)
	if s.readAgain != nil {
		s.file.named.table.proxy.Store(s.proxy)
	}
	return err
}

func (s *system) makeAdminAccess() (err error) {
	s.adminAccess, err = newAdminAccess(&s.AdminFlags)
	return err
}

// makeAdmin makes what tells about all other parts.
func (s *system) makeAdmin() (err error) {
	o := admin.Options{
		Router: s.router, Registry: s.registry, Proxy: s.proxy, Sources: []admin.Reporter{s.source}, Version: version(), Logger: s.logger, MetricsRoutes: s.MetricsRoutes, LogLevel: s.level,
		Access: s.adminAccess.options(), MadeRoom: s.madeRoom.Load, Limits: s.limits(),
		Memory: s.memory, HTTP2: s.engine2.Status, Certificates: s.certs, History: history.RingOf(s.logger),
		Clients: func() (open, limit int) { return s.open.Open(), s.share.clients },
	}
	o.Name, _ = os.Hostname()
	o.MaxFollowers = min(s.AdminFlags.MaxFollowers, max(1, s.share.admin/2))
	if o.MaxMemory = s.AdminFlags.Memory; s.limit > 0 {
		o.MaxMemory = min(o.MaxMemory, s.limit/16)
	}
	for _, l := range s.traffic {
		o.Listeners = append(o.Listeners, admin.Listener{Name: l.name, Status: l.server.Status})
	}
	if s.accessLog != nil {
		o.AccessLogDropped, o.AccessLogSkipped = s.accessLog.Dropped, s.accessLog.Skipped
	}
	if log, ok := s.env.stderr.(*logWriter); ok {
		o.LogDropped = log.Lost
	}
	o.Rates, o.FieldsOmitted = s.rates.Status, s.policyLimits.Omitted
	if s.store != nil {
		o.Registrations = s.store.Status
	}
	o.Compression = s.encoders.Status
	if s.file.named.logins != nil {
		o.Logins = s.file.named.logins.Status
		s.file.named.logins.Log(s.logger)
	}
	if s.mesh != nil {
		o.Mesh = s.mesh.Status
	}
	if s.claims != nil {
		o.Claims = s.claims.Status
	}
	if s.readAgain != nil {
		s.config = newConfigReloader(s.serveCommand, s.logger)
		o.Config, o.Tokens, o.Auths, o.LoginProblems = s.config.Status, s.config.Tokens, s.config.Auths, s.config.LoginProblems
		cached := s.TokenCache
		if s.limit > 0 {
			cached = min(cached, s.limit/64)
		}
		s.file.named.tokens.SetLimit(cached)
		s.file.followKeys()
		s.file.tellWeak(s.logger)
		s.file.tellIgnored(s.logger)
		s.file.named.secrets.Follow(s.file.named.secretsOf())
	}
	if s.traces != nil {
		o.Traces, o.Exemplars = s.traceStatus, s.traces.Exemplars
	}
	if s.obtain != nil {
		o.Obtain = s.obtain
	}
	if s.bind == nil { // otherwise a serai that runs here may have it still to read
		if last := s.readLastStop(); last != nil {
			o.LastStopCut = &last.Cut
		}
	}
	s.admin, err = admin.New(o)
	return err
}

// orNever turns a flag's 0, which switches something off, into what the parts
// take for that: their 0 is the default.
func orNever[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// close gives back what newSystem took.
func (s *system) close() {
	for _, l := range s.traffic {
		l.port.Close()
	}
	if s.adminPort != nil {
		s.adminPort.Close()
	}
	if s.metricsPort != nil {
		s.metricsPort.Close()
	}
	if s.logFile != nil {
		s.logFile.Close()
	}
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	if s.consul != nil {
		s.consul.CloseIdleConnections()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	if s.config != nil {
		s.config.current.closeAuths(nil)
	}
}
