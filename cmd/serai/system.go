package main

import (
	"cmp"
	"errors"
	"log/slog"
	"net"

	"serai/admin"
	"serai/claims"
	"serai/discovery"
	"serai/front"
	"serai/internal/memory"
	"serai/nomad"
	"serai/proxy"
	"serai/proxy/http2"
	"serai/router"
	"serai/tls"
	"serai/upstream"
	"serai/wire"
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
	engine2   *http2.Engine    // of clients over HTTP/2
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
	memory    *memory.Budget // of clients, nil for no limit
	open      *front.Clients // who has connections

	first chan struct{}   // closed with the first table
	reads []chan struct{} // closed when what else a start waits for has been read
}

// newSystem makes all parts and binds the addresses. What is wrong with the
// settings is reported at once.
func newSystem(c *serveCommand, env *environment, limit int64, logger *slog.Logger) (s *system, err error) {
	s = &system{serveCommand: c, env: env, logger: logger, router: router.NewRouter(), first: make(chan struct{}), share: shareDescriptors(descriptorLimit())}
	waiting := c.MaxWaitingBytes
	if limit > 0 {
		s.memory, waiting = memory.NewBudget(limit/20*clientShare), min(waiting, limit/8)
	}
	s.open = front.NewClients(s.memory, s.share.clients)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	registry := upstream.RegistryOptions{
		ConnectTimeout: c.ConnectTimeout.value(), WriteIdle: c.WriteIdle.value(), IdleTimeout: c.UpstreamIdle.value(), MaxIdle: orNever(c.UpstreamMaxIdle),
		MaxWaiting: c.MaxWaiting, MaxWaitingBytes: waiting, EjectAfter: orNever(c.EjectAfter), EjectShare: c.EjectShare,
		EjectTime: c.EjectTime.value(), SlowStart: orNever(c.SlowStart.value()), Probes: c.Probes, ProbeRate: c.ProbeRate, JobProbeRate: c.JobProbeRate,
		MinCheckInterval: orNever(c.MinCheckInterval.value()), MaxCheckTime: c.MaxCheckTime.value(), MaxConns: s.share.instances, Logger: logger,
		Transport: transports(c.UpstreamMaxStreams, func(cause any, address string) { s.proxy.ConnectionPanicked(cause, address) }),
	}
	registry.StickyKey, err = readSecret("sticky-key-file", c.StickyKeyFile)
	var status func() bool // set once admin exists
	errs := []error{err, registry.Validate()}
	s.registry = upstream.NewRegistry(registry)
	s.builder, err = router.NewBuilder(s.router, router.Options{
		Registry: s.registry, Prefix: c.TagPrefix, Class: c.Class, Node: c.Node,
		Datacenter: cmp.Or(c.Datacenter, env.getenv("NOMAD_DC")), Owners: c.namespaceHosts,
		Share: c.shares, SharedHosts: c.SharedHosts, Reserved: c.reservedPaths(), Quotas: c.Quotas.limits(),
		Linger: c.Linger.value(), HTTPSOnly: c.HTTPSOnly, Networks: prefixes(c.UpstreamNetworks), NoLoopback: nodeHasAddress(env.getenv), Own: s.own.name, Nomad: s.own.nomad, Logger: logger,
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
	a.Memory, a.HTTP2 = s.memory, s.engine2.Status
	a.Clients = func() (open, limit int) { return s.open.Open(), s.share.clients }
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
