package admin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"serai/discovery"
	"serai/nomad"
	"serai/proxy/http1"
	"serai/router"
	"serai/upstream"
)

// metrics is what /metrics tells. Most of it is read from the parts when it is
// asked for, so that a request pays nothing for it.
type metrics struct {
	admin    *Admin
	registry *prometheus.Registry
	lag      prometheus.Histogram
	built    prometheus.Histogram
	nomad    *prometheus.CounterVec
}

func newMetrics(a *Admin) *metrics {
	m := &metrics{
		admin: a, registry: prometheus.NewRegistry(),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "serai_discovery_lag_seconds", Help: "Time from an event of Nomad to the table that has it.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		built: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "serai_table_build_seconds", Help: "Time to make and publish a table.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1},
		}),
		nomad: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serai_nomad_requests_total", Help: "Requests made to Nomad, by kind and outcome.",
		}, []string{"kind", "outcome"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "serai_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": a.options.Version}})
	info.Set(1)
	m.registry.MustRegister(m.lag, m.built, m.nomad, info, m,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// NomadRequest counts a request made to Nomad. It is a nomad.Options.OnRequest.
func (a *Admin) NomadRequest(kind string, err error) {
	a.metrics.nomad.WithLabelValues(kind, outcome(err)).Inc()
}

func outcome(err error) string {
	for _, o := range []struct {
		err  error
		name string
	}{
		{nomad.ErrTokenRefused, "token-refused"}, {nomad.ErrForbidden, "forbidden"}, {nomad.ErrStreamRefused, "refused"},
		{nomad.ErrStreamSilent, "silent"}, {nomad.ErrUnreachable, "unreachable"}, {nomad.ErrUnavailable, "unavailable"},
		{nomad.ErrBadAnswer, "bad-answer"}, {nomad.ErrNotFound, "not-found"}, {nomad.ErrConflict, "conflict"},
	} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	if err != nil {
		return "failed"
	}
	return "ok"
}

var (
	route = []string{"namespace", "service", "route"}

	requests  = desc("serai_requests_total", "Ended requests; class none: the client left, or was cut off, without an answer.", append(route, "class")...)
	durations = desc("serai_request_duration_seconds", "Time from a request's head to the end of its answer.", route...)
	inflight  = desc("serai_requests_in_flight", "Requests under way.", route...)
	bytesIn   = desc("serai_request_body_bytes_total", "Bytes of request bodies.", route...)
	bytesOut  = desc("serai_response_body_bytes_total", "Bytes of answer bodies.", route...)
	retries   = desc("serai_retries_total", "Further attempts.", route...)
	upgrades  = desc("serai_upgrades_total", "Requests that became tunnels.", route...)

	answers    = desc("serai_own_answers_total", "Answers of serai itself and cut answers, by reason.", "reason")
	endpoints  = desc("serai_endpoints", "Instances by state.", "state")
	routes     = desc("serai_routes", "Routes that can take a request.")
	lingering  = desc("serai_routes_lingering", "Routes that wait for their next instance.")
	hosts      = desc("serai_hosts", "Host patterns.")
	rejections = desc("serai_rejections", "What was asked for and refused.")
	tableIndex = desc("serai_table_index", "Nomad index of the current table.")

	phase     = desc("serai_source_phase", "1 for the phase that a source of services is in.", "source", "phase")
	stale     = desc("serai_source_stale_seconds", "How long a source has not been heard; 0 while it is.", "source")
	streamAge = desc("serai_stream_age_seconds", "Time since the event stream last gave a sign of life.", "source")
	services  = desc("serai_source_services", "Services that a source knows.", "source")
	instances = desc("serai_source_instances", "Instances that a source knows.", "source")
	events    = desc("serai_source_events_total", "Events heard.", "source")
	breaks    = desc("serai_source_breaks_total", "Times that a source was lost.", "source")
	scans     = desc("serai_source_scans_total", "Times that everything was read.", "source")

	conns        = desc("serai_connections", "Open client connections.", "listener")
	accepted     = desc("serai_connections_accepted_total", "Client connections accepted.", "listener")
	refused      = desc("serai_connections_refused_total", "Client connections refused because of a limit.", "listener")
	acceptErrors = desc("serai_accept_errors_total", "Failed accepts.", "listener")
	dropped      = desc("serai_access_log_dropped_total", "Lines of the access log that were lost.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe says nothing: what there is changes with the services.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads all parts.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	o := &m.admin.options
	m.collectRoutes(out)
	for reason, n := range o.Proxy.Reasons() {
		counter(out, answers, n, reason)
	}
	states := map[upstream.State]int{upstream.Probing: 0, upstream.Ready: 0}
	for _, e := range o.Registry.Endpoints() {
		states[e.State]++
	}
	for state, n := range states {
		gauge(out, endpoints, float64(n), state.String())
	}
	for _, source := range o.Sources {
		for _, s := range source.Status() {
			collectSource(out, &s)
		}
	}
	for _, l := range o.Listeners {
		collectListener(out, l.Name, l.Status())
	}
	if o.AccessLogDropped != nil {
		counter(out, dropped, o.AccessLogDropped())
	}
}

func (m *metrics) collectRoutes(out chan<- prometheus.Metric) {
	table := m.admin.options.Router.Current()
	seen := make(map[*router.Stats]bool)
	all, waiting := table.Routes(), 0
	for _, r := range all {
		if r.Lingers() {
			waiting++
		}
		if seen[r.Stats] {
			continue
		}
		seen[r.Stats] = true
		collectStats(out, r)
	}
	gauge(out, routes, float64(len(all)))
	gauge(out, lingering, float64(waiting))
	gauge(out, hosts, float64(len(table.Hosts())))
	gauge(out, rejections, float64(len(table.Rejections())))
	gauge(out, tableIndex, float64(table.Index))
}

// collectStats tells of one named route. Routes nobody calls are left out: a
// counter that begins later begins at 0.
func collectStats(out chan<- prometheus.Metric, r *router.Route) {
	s := r.Stats.Snapshot()
	labels := []string{printable(r.Namespace), printable(r.Service), r.Name}
	total := s.Requests()
	if total == 0 && s.Inflight == 0 {
		return
	}
	for class, n := range s.Classes {
		if n > 0 {
			name := "none"
			if class > 0 {
				name = fmt.Sprintf("%dxx", class)
			}
			counter(out, requests, n, append(labels[:3:3], name)...)
		}
	}
	buckets, sum := make(map[float64]uint64, len(router.DurationBounds)), uint64(0)
	for i, bound := range router.DurationBounds {
		sum += s.Buckets[i]
		buckets[bound] = sum
	}
	out <- prometheus.MustNewConstHistogram(durations, total, s.Duration.Seconds(), buckets, labels...)
	gauge(out, inflight, float64(s.Inflight), labels...)
	counter(out, bytesIn, s.BytesIn, labels...)
	counter(out, bytesOut, s.BytesOut, labels...)
	counter(out, retries, s.Retries, labels...)
	counter(out, upgrades, s.Upgrades, labels...)
}

// printable keeps names of services, which come from outside, valid labels.
func printable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func collectSource(out chan<- prometheus.Metric, s *discovery.Status) {
	for _, p := range []discovery.Phase{discovery.Starting, discovery.Cached, discovery.Live, discovery.Polling, discovery.Stale} {
		is := 0.0
		if p == s.Phase {
			is = 1
		}
		gauge(out, phase, is, s.Source, string(p))
	}
	silent := 0.0
	if s.Phase == discovery.Stale || s.Phase == discovery.Cached {
		silent = time.Since(s.Since).Seconds()
	}
	gauge(out, stale, silent, s.Source)
	if !s.Heard.IsZero() {
		gauge(out, streamAge, time.Since(s.Heard).Seconds(), s.Source)
	}
	gauge(out, services, float64(s.Services), s.Source)
	gauge(out, instances, float64(s.Instances), s.Source)
	counter(out, events, s.Events, s.Source)
	counter(out, breaks, s.Breaks, s.Source)
	counter(out, scans, s.Scans, s.Source)
}

func collectListener(out chan<- prometheus.Metric, name string, s http1.ServerStatus) {
	gauge(out, conns, float64(s.Conns), name)
	counter(out, accepted, s.Accepted, name)
	counter(out, refused, s.Refused, name)
	counter(out, acceptErrors, s.AcceptErrors, name)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, n float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
}
