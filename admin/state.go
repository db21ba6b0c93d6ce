package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serai/discovery"
	"serai/front"
	"serai/internal/memory"
)

var (
	answers    = desc("serai_answers_total", "Answers of serai itself and cut answers, by reason.", "reason")
	ejected    = desc("serai_ejections_total", "Times that an instance was ejected for what it did with requests.")
	notEjected = desc("serai_ejections_spared_total", "Ejections that were not done, because more than half of a route's instances would have been ejected.")
	probes     = desc("serai_probes_total", "Probes of instances, checks among them, that were begun.")
	probing    = desc("serai_probes_in_flight", "Probes under way.")
	lateProbe  = desc("serai_probes_delayed_total", "Times that probes of instances that are not ready had to wait for --probe-rate.")
	jobProbe   = desc("serai_probes_job_delayed_total", "Times that probes had to wait for --job-probe-rate.")
	recalled   = desc("serai_probes_recalled_total", "Probes that took long and were ended since others, with less than their share, needed their place.")
	sameProbe  = desc("serai_probes_shared_total", "Results that instances took of a probe of another one at the same address.")
	waiting    = desc("serai_waiting_requests", "Requests that wait for an instance.")
	held       = desc("serai_waiting_bytes", "Bytes that they hold.")
	heldLimit  = desc("serai_waiting_bytes_limit", "Bytes that they may hold: --max-waiting-bytes.")
	displaced  = desc("serai_waiting_displaced_total", "Requests answered queue-full while they waited, since another route or namespace had less than its share.")
	complete   = desc("serai_first_complete_seconds", "Time from the start to the first complete table; absent before.")

	phase     = desc("serai_source_phase", "1 for the phase that a source of services is in.", "source", "phase")
	stale     = desc("serai_source_stale_seconds", "How long a source has not been heard; 0 while it is.", "source")
	streamAge = desc("serai_stream_age_seconds", "Time since the event stream last gave a sign of life.", "source")
	services  = desc("serai_services", "Services that a source knows.", "source")
	instances = desc("serai_instances", "Instances that a source knows.", "source")
	events    = desc("serai_source_events_total", "Events heard.", "source")
	forbidden = desc("serai_namespace_stale_seconds", "How long a namespace has not been read, for the reason; absent while it is.", "source", "namespace", "reason")
	breaks    = desc("serai_source_breaks_total", "Times that a source was lost.", "source")
	continued = desc("serai_source_continuations_total", "Times that a new event stream was shown to have missed nothing, so that nothing was read again.", "source")
	scans     = desc("serai_source_scans_total", "Times that everything was listed.", "source")

	conns        = desc("serai_connections", "Open client connections.", "listener")
	accepted     = desc("serai_connections_accepted_total", "Client connections accepted.", "listener")
	refused      = desc("serai_connections_refused_total", "Client connections refused because of a limit.", "listener")
	acceptErrors = desc("serai_accept_errors_total", "Failed accepts.", "listener")
	shaking      = desc("serai_tls_handshakes_in_flight", "TLS handshakes under way.", "listener")
	notShaken    = desc("serai_tls_handshakes_refused_total", "TLS handshakes refused, or ended because they were slow, while there were --max-handshakes.", "listener")
	shares       = desc("serai_connections_open", "Open connections of all clients, and to all instances: in use, idle or of probes.", "side")
	shareLimits  = desc("serai_connections_limit", "Share of the file descriptors that each may use.", "side")
	unmade       = desc("serai_upstream_connections_refused_total", "Connections to instances that were not made because their share was used up.")
	memoryTaken  = desc("serai_memory_bytes", "Memory that clients take, by what for; absent without a limit.", "part")
	memoryLimit  = desc("serai_memory_limit_bytes", "Memory that clients may take; absent without a limit.")
	memoryShare  = desc("serai_memory_share_bytes", "Memory that one client gets whatever the others hold, as it is now; absent without a limit.")
	memoryHolds  = desc("serai_memory_clients", "Clients, IPv4 addresses or IPv6 /64s, that hold memory; absent without a limit.")
	recalledMem  = desc("serai_memory_recalled_total", "Connections of clients with more than their share of memory that were ended to make room for others.")
	noMemory     = desc("serai_memory_refused_total", "Times that memory was asked for in vain: a request or connection was refused, or a body went through a small buffer.", "part")
	over2        = desc("serai_http2_connections", "Open client connections that speak HTTP/2.")
	streams2     = desc("serai_http2_streams", "Requests under way over HTTP/2.")
	ended2       = desc("serai_http2_limits_total", "HTTP/2 connections that were ended for going beyond a limit or breaking the protocol, and (streams, stalled) single requests that were.", "cause")
	dropped      = desc("serai_access_log_dropped_total", "Lines of the access log that were lost.")
)

var phases = [...]discovery.Phase{discovery.Starting, discovery.Cached, discovery.Live, discovery.Polling, discovery.Stale}

// state collects how the parts are, all but the routes.
type state struct {
	options *Options
	metrics *metrics
}

// Describe says nothing: what there is depends on the parts.
func (*state) Describe(chan<- *prometheus.Desc) {}

// Collect reads the parts.
func (c *state) Collect(out chan<- prometheus.Metric) {
	for reason, n := range c.options.Proxy.Reasons() {
		counter(out, answers, n, reason)
	}
	collectEndpoints(out, c.options.Router.Current(), c.options.Registry)
	outliers := c.options.Registry.Ejections()
	counter(out, ejected, outliers.Ejected)
	counter(out, notEjected, outliers.Suppressed)
	if d := c.metrics.complete.Load(); d > 0 {
		gauge(out, complete, time.Duration(d).Seconds())
	}
	for _, source := range c.options.Sources {
		for _, s := range source.Status() {
			collectSource(out, &s)
		}
	}
	for _, l := range c.options.Listeners {
		collectListener(out, l.Name, l.Status())
	}
	collectShares(c.options, out)
	collectCertificates(c.options, out)
	if c.options.Claims != nil {
		collectClaims(out, c.options.Claims())
	}
	if c.options.HTTP2 != nil {
		s := c.options.HTTP2()
		gauge(out, over2, float64(s.Conns))
		gauge(out, streams2, float64(s.Streams))
		for cause, n := range s.Ended {
			counter(out, ended2, n, cause)
		}
	}
	if c.options.AccessLogDropped != nil {
		counter(out, dropped, c.options.AccessLogDropped())
	}
}

// collectShares tells of the file descriptors' shares, of probes, and of requests
// that wait.
func collectShares(o *Options, out chan<- prometheus.Metric) {
	share := func(side string, open, limit int) {
		gauge(out, shares, float64(open), side)
		if limit > 0 {
			gauge(out, shareLimits, float64(limit), side)
		}
	}
	if o.Memory != nil {
		collectMemory(out, o.Memory)
	}
	if o.Clients != nil {
		open, limit := o.Clients()
		share("clients", open, limit)
	}
	up := o.Registry.Connections()
	share("instances", up.Open, up.Limit)
	counter(out, unmade, up.Refused)
	p := o.Registry.Probes()
	counter(out, probes, p.Begun)
	counter(out, lateProbe, p.Late)
	counter(out, jobProbe, p.Spread)
	counter(out, recalled, p.Recalled)
	counter(out, sameProbe, p.Shared)
	gauge(out, probing, float64(p.Now))
	w := o.Registry.Waiting()
	gauge(out, waiting, float64(w.Requests))
	gauge(out, held, float64(w.Bytes))
	gauge(out, heldLimit, float64(w.Limit))
	counter(out, displaced, w.Displaced)
}

func collectMemory(out chan<- prometheus.Metric, b *memory.Budget) {
	gauge(out, memoryLimit, float64(b.Limit()))
	share, clients := b.Share()
	gauge(out, memoryShare, float64(share))
	gauge(out, memoryHolds, float64(clients))
	counter(out, recalledMem, b.Recalled())
	for _, p := range memory.Parts() {
		taken, refused := b.Taken(p)
		gauge(out, memoryTaken, float64(taken), p.String())
		counter(out, noMemory, refused, p.String())
	}
}

func collectSource(out chan<- prometheus.Metric, s *discovery.Status) {
	for _, p := range phases {
		is := 0.0
		if p == s.Phase {
			is = 1
		}
		gauge(out, phase, is, s.Source, string(p))
	}
	silent := 0.0
	if s.Phase == discovery.Stale || s.Phase == discovery.Cached {
		silent = max(0, time.Since(s.Since).Seconds())
	}
	gauge(out, stale, silent, s.Source)
	if !s.Heard.IsZero() {
		gauge(out, streamAge, max(0, time.Since(s.Heard).Seconds()), s.Source)
	}
	gauge(out, services, float64(s.Services), s.Source)
	gauge(out, instances, float64(s.Instances), s.Source)
	counter(out, events, s.Events, s.Source)
	counter(out, breaks, s.Breaks, s.Source)
	counter(out, continued, s.Continued, s.Source)
	counter(out, scans, s.Scans, s.Source)
	for _, f := range s.Forbidden {
		gauge(out, forbidden, max(0, time.Since(f.Since).Seconds()), s.Source, f.Namespace, "forbidden")
	}
}

func collectListener(out chan<- prometheus.Metric, name string, s front.Status) {
	gauge(out, conns, float64(s.Conns), name)
	counter(out, accepted, s.Accepted, name)
	counter(out, refused, s.Refused, name)
	counter(out, acceptErrors, s.AcceptErrors, name)
	gauge(out, shaking, float64(s.Handshakes), name)
	counter(out, notShaken, s.HandshakesRefused, name)
}
