package admin

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serai/discovery"
	"serai/front"
	"serai/internal/coding"
	"serai/internal/memory"
	"serai/policy/auth/oidc"
	"serai/proxy"
)

var (
	answers    = desc("serai_answers_total", "Responses that serai made itself instead of an instance, and responses that were cut off, by reason (the X-Serai-Reason header).", "reason")
	ejected    = desc("serai_ejections_total", "Ejections of instances because their requests failed.")
	notEjected = desc("serai_ejections_spared_total", "Ejections that were skipped because more than half of a route's instances would have been ejected.")
	probes     = desc("serai_probes_total", "Probes of instances started, including health checks.")
	probing    = desc("serai_probes_in_flight", "Probes in progress.")
	lateProbe  = desc("serai_probes_delayed_total", "Probes of instances that are not ready that had to wait because of --probe-rate.")
	jobProbe   = desc("serai_probes_job_delayed_total", "Probes that had to wait because of --job-probe-rate.")
	recalled   = desc("serai_probes_recalled_total", "Slow probes cancelled because others, with less than their share of --probes, needed their place.")
	sameProbe  = desc("serai_probes_shared_total", "Probes saved because another instance's probe of the same address had just been made.")
	waiting    = desc("serai_waiting_requests", "Requests that wait for an instance.")
	held       = desc("serai_waiting_bytes", "Memory in bytes used by requests that wait for an instance.")
	heldLimit  = desc("serai_waiting_bytes_limit", "Limit of serai_waiting_bytes: --max-waiting-bytes.")
	displaced  = desc("serai_waiting_displaced_total", "Waiting requests answered 503 (queue-full) because another route or namespace used less than its share.")
	complete   = desc("serai_first_complete_seconds", "Time from the start until the first complete routing table; absent before.")

	draining  = desc("serai_draining", "1 while serai drains: it still serves requests, and load balancers should send no new ones; else 0.")
	cutAtStop = desc("serai_last_stop_cut_requests", "Requests cut off when the serai before this one stopped, because --drain-timeout was over; absent if not known, as without --state-dir.")

	phase     = desc("serai_source_phase", "1 for the current phase of a source of services, 0 for the others.", "source", "phase")
	stale     = desc("serai_source_stale_seconds", "Time since the connection to a source was lost, during which its last known instances stay in use; 0 while connected.", "source")
	streamAge = desc("serai_stream_age_seconds", "Time since the event stream of a source last sent anything.", "source")
	services  = desc("serai_services", "Services that a source knows.", "source")
	instances = desc("serai_instances", "Service instances that a source knows.", "source")
	events    = desc("serai_source_events_total", "Events received from a source.", "source")
	forbidden = desc("serai_namespace_stale_seconds", "Time since a namespace could last be read, with the reason; its last known instances stay in use. Absent while it can be read.", "source", "namespace", "reason")
	breaks    = desc("serai_source_breaks_total", "Times that the connection to a source was lost.", "source")
	continued = desc("serai_source_continuations_total", "Times that a new event stream continued without a gap, so that services were not listed again.", "source")
	scans     = desc("serai_source_scans_total", "Times that all services of a source were listed.", "source")

	conns        = desc("serai_connections", "Open client connections, by listener.", "listener")
	accepted     = desc("serai_connections_accepted_total", "Accepted client connections, by listener.", "listener")
	refused      = desc("serai_connections_refused_total", "Client connections refused because of a limit, by listener.", "listener")
	recalledIdle = desc("serai_connections_recalled_total", "Idle client connections closed to make room for others, of client addresses with more than their share, by listener.", "listener")
	acceptErrors = desc("serai_accept_errors_total", "Failed accepts of client connections, such as for lack of file descriptors.", "listener")
	shaking      = desc("serai_tls_handshakes_in_flight", "TLS handshakes in progress, by listener.", "listener")
	notShaken    = desc("serai_tls_handshakes_refused_total", "TLS handshakes refused or, if slow, cut off because of --max-handshakes, by listener.", "listener")
	shares       = desc("serai_connections_open", "Open connections with clients, and with instances (in use, idle or for probes).", "side")
	shareLimits  = desc("serai_connections_limit", "Connections that clients, and instances, may have at most: their share of the file descriptors.", "side")
	unmade       = desc("serai_upstream_connections_refused_total", "Connections to instances not opened because their share of the file descriptors was used up.")
	memoryTaken  = desc("serai_memory_bytes", "Memory in bytes used for clients, by purpose; absent without a memory limit.", "part")
	memoryLimit  = desc("serai_memory_limit_bytes", "Limit of the memory used for all clients together; absent without a memory limit.")
	memoryShare  = desc("serai_memory_share_bytes", "Memory in bytes that each client is sure of at the moment, whatever the others use; absent without a memory limit.")
	memoryHolds  = desc("serai_memory_clients", "Clients (IPv4 addresses or IPv6 /64 networks) that use memory; absent without a memory limit.")
	recalledMem  = desc("serai_memory_recalled_total", "Client connections closed to free memory, of clients that used more than their share.")
	noMemory     = desc("serai_memory_refused_total", "Times that there was no memory for a client, by purpose: a request or connection was refused, or a body was sent through a smaller buffer.", "part")
	over2        = desc("serai_http2_connections", "Open HTTP/2 client connections.")
	streams2     = desc("serai_http2_streams", "HTTP/2 requests in flight.")
	ended2       = desc("serai_http2_limits_total", "HTTP/2 client connections closed because of a limit or a protocol error, by cause; for the causes streams and stalled single requests.", "cause")
	rateKeys     = desc("serai_rate_keys", "Clients and other keys that the rate limits of routes keep in memory.")
	rateLimit    = desc("serai_rate_keys_limit", "Limit of serai_rate_keys: --rate-keys, at most a sixteenth of the memory.")
	rateRefused  = desc("serai_rate_refused_total", "Requests refused (429) because of a route's rate limit.")
	rateCrowded  = desc("serai_rate_displaced_total", "Requests whose client or key had to share the rate limit entry of another, because of --rate-keys or memory: they may be refused too early.")
	coderMemory  = desc("serai_compression_bytes", "Memory in bytes used for compressing responses.")
	coderLimit   = desc("serai_compression_bytes_limit", "Limit of serai_compression_bytes: --max-compression-bytes, at most an eighth of the memory.")
	coded        = desc("serai_compressed_answers_total", "Compressed responses that have ended, by coding; gzip-light is gzip with less memory.", "coding")
	codedIn      = desc("serai_compressed_input_bytes_total", "Bytes of response bodies before compression, by coding.", "coding")
	codedOut     = desc("serai_compressed_output_bytes_total", "Bytes of response bodies after compression, by coding.", "coding")
	uncoded      = desc("serai_compression_refused_total", "Times that there was no memory for a coding; another one was tried, or the response was sent uncompressed.", "coding")
	uncompressed = desc("serai_uncompressed_answers_total", "Responses sent uncompressed because there was no memory for any coding that the client accepts.")
	pagesShown   = desc("serai_error_pages_shown_total", "Error responses sent with an error page of another service as the body.")
	pagesMissed  = desc("serai_error_pages_missed_total", "Error responses sent with their own body because the error page was not available.")
	pageFetches  = desc("serai_error_page_fetches_total", "Fetches of error pages.")
	pageFailures = desc("serai_error_page_failures_total", "Fetches of error pages that failed; the log says why.")
	pageRefused  = desc("serai_error_page_fetches_refused_total", "Fetches of error pages that were skipped because of --error-page-fetches or --error-pages-memory.")
	pagesKept    = desc("serai_error_pages", "Error pages in the cache, including those known to be unavailable.")
	pageBytes    = desc("serai_error_pages_bytes", "Memory in bytes used by cached error pages.")
	pageLimit    = desc("serai_error_pages_bytes_limit", "Limit of serai_error_pages_bytes: --error-pages-memory, at most a 32nd of the memory.")
	revoked      = desc("serai_oidc_sessions_revoked", "Logged-out sessions that this node remembers until they expire (--oidc-logouts).")
	attemptsUsed = desc("serai_oidc_logins_remembered", "Completed logins that this node remembers so that none is used twice (--oidc-logins).")
	renewalsKept = desc("serai_oidc_renewals_remembered", "Session renewals on this node that are in progress or have just ended (--oidc-renewals).")
	loginEvents  = desc("serai_oidc_events_total", "Logins and sessions, by event: login, failed, renewed, not_renewed, logout, limited, forged (a cookie that cannot be decrypted), displaced (a logged-out session forgotten too early), displaced_login (a completed login forgotten too early), too_large (a session that does not fit into cookies).", "event")
	ownDropped   = desc("serai_log_dropped_total", "Lines of serai's own log lost because nobody read standard error fast enough.")
	spansSent    = desc("serai_trace_spans_exported_total", "Trace spans accepted by the collector (--otlp).")
	spansLost    = desc("serai_trace_spans_dropped_total", "Lost trace spans, by cause: queue-full (the collector is too slow or not reachable), refused (sending failed, or the collector did not take them).", "why")
	traceBytes   = desc("serai_trace_queue_bytes", "Memory in bytes used by traces that wait to be sent to the collector.")
	traceLimit   = desc("serai_trace_queue_bytes_limit", "Limit of serai_trace_queue_bytes: --trace-memory, at most a 64th of the memory.")
	errorsLeft   = desc("serai_trace_errors_skipped_total", "Failed requests that were not traced because of --trace-errors.")
	dropped      = desc("serai_access_log_dropped_total", "Access log lines lost because the log could not be written fast enough, or not at all.")
	skippedLines = desc("serai_access_log_skipped_total", "Requests refused by a policy and left out of the access log because of --access-log-refused.")
)

var phases = [...]discovery.Phase{discovery.Starting, discovery.Cached, discovery.Live, discovery.Polling, discovery.Stale}

// state collects the state of all parts except the routes.
type state struct {
	options  *Options
	metrics  *metrics
	draining *atomic.Bool
}

// Describe describes nothing, because the metrics depend on the parts.
func (*state) Describe(chan<- *prometheus.Desc) {}

// Collect reads the parts.
func (c *state) Collect(out chan<- prometheus.Metric) {
	for reason, n := range c.options.Proxy.Reasons() {
		counter(out, answers, n, reason)
	}
	collectPages(out, c.options.Proxy.Pages())
	collectEndpoints(out, c.options.Router.Current(), c.options.Registry, cmp.Or(c.options.MetricsRoutes, defaultMetricsRoutes))
	outliers := c.options.Registry.Ejections()
	counter(out, ejected, outliers.Ejected)
	counter(out, notEjected, outliers.Suppressed)
	if d := c.metrics.complete.Load(); d > 0 {
		gauge(out, complete, time.Duration(d).Seconds())
	}
	gauge(out, draining, oneIf(c.draining.Load()))
	if n := c.options.LastStopCut; n != nil {
		gauge(out, cutAtStop, float64(*n))
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
	if c.options.Mesh != nil {
		collectMesh(out, c.options.Mesh())
	}
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
	if c.options.Config != nil {
		collectConfig(out, c.options.Config())
	}
	if c.options.Auths != nil {
		collectAuths(out, c.options.Auths())
	}
	if c.options.FieldsOmitted != nil {
		counter(out, fieldsOmitted, c.options.FieldsOmitted())
	}
	if c.options.Tokens != nil {
		collectTokens(out, c.options.Tokens())
	}
	if c.options.Rates != nil {
		s := c.options.Rates()
		gauge(out, rateKeys, float64(s.Keys))
		gauge(out, rateLimit, float64(s.Limit))
		counter(out, rateRefused, s.Refused)
		counter(out, rateCrowded, s.Displaced)
	}
	if c.options.Compression != nil {
		collectCompression(out, c.options.Compression())
	}
	if c.options.Logins != nil {
		collectLogins(out, c.options.Logins())
	}
	if c.options.Traces != nil {
		collectTraces(out, c.options.Traces())
	}
	if c.options.LogDropped != nil {
		counter(out, ownDropped, c.options.LogDropped())
	}
	if c.options.AccessLogDropped != nil {
		counter(out, dropped, c.options.AccessLogDropped())
	}
	if c.options.AccessLogSkipped != nil {
		counter(out, skippedLines, c.options.AccessLogSkipped())
	}
}

func collectPages(out chan<- prometheus.Metric, s proxy.PageStatus) {
	counter(out, pagesShown, s.Shown)
	counter(out, pagesMissed, s.Missed)
	counter(out, pageFetches, s.Fetched)
	counter(out, pageFailures, s.Failed)
	counter(out, pageRefused, s.Refused)
	gauge(out, pagesKept, float64(s.Pages))
	gauge(out, pageBytes, float64(s.Bytes))
	gauge(out, pageLimit, float64(s.Limit))
}

// collectLogins collects what is known of users who log in at a provider.
func collectLogins(out chan<- prometheus.Metric, s oidc.Status) {
	gauge(out, revoked, float64(s.Revoked))
	gauge(out, attemptsUsed, float64(s.Used))
	gauge(out, renewalsKept, float64(s.Renewals))
	for event, n := range map[string]uint64{
		"login": s.Logins, "failed": s.Failures, "renewed": s.Renewed, "not_renewed": s.NotRenewed,
		"logout": s.Logouts, "limited": s.Limited, "forged": s.Forged, "displaced": s.Displaced, "displaced_login": s.DisplacedLogins, "too_large": s.TooLarge,
	} {
		counter(out, loginEvents, n, event)
	}
}

// collectShares collects the shares of file descriptors, probes, and waiting requests.
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

func collectCompression(out chan<- prometheus.Metric, s coding.Status) {
	gauge(out, coderMemory, float64(s.Memory))
	gauge(out, coderLimit, float64(s.Limit))
	counter(out, uncompressed, s.Uncompressed)
	for _, k := range s.Kinds {
		counter(out, coded, k.Bodies, k.Name)
		counter(out, codedIn, k.In, k.Name)
		counter(out, codedOut, k.Out, k.Name)
		counter(out, uncoded, k.Refused, k.Name)
	}
}

func collectSource(out chan<- prometheus.Metric, s *discovery.Status) {
	for _, p := range phases {
		gauge(out, phase, oneIf(p == s.Phase), s.Source, string(p))
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
	counter(out, recalledIdle, s.Recalled, name)
	counter(out, acceptErrors, s.AcceptErrors, name)
	gauge(out, shaking, float64(s.Handshakes), name)
	counter(out, notShaken, s.HandshakesRefused, name)
}
