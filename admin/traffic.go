package admin

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"serai/discovery"
	"serai/internal/pace"
	"serai/router"
	"serai/tracing"
)

var (
	ofRoute = []string{"namespace", "service", "route"}

	requests  = desc("serai_requests_total", "Ended requests by status class; none means that the client left or was cut off before the response began.", "namespace", "service", "route", "class")
	durations = desc("serai_request_duration_seconds", "Time from the request head to the end of the response.", ofRoute...)
	inflight  = desc("serai_requests_in_flight", "Requests in flight.", ofRoute...)
	bytesIn   = desc("serai_request_body_bytes_total", "Bytes of request bodies.", ofRoute...)
	bytesOut  = desc("serai_response_body_bytes_total", "Bytes of response bodies.", ofRoute...)
	retries   = desc("serai_retries_total", "Requests sent again to an instance after a failed attempt.", ofRoute...)
	upgrades  = desc("serai_upgrades_total", "Requests that were upgraded to a tunnel, such as WebSockets.", ofRoute...)

	answered = desc("serai_grpc_answers_total", "Ended gRPC requests by grpc-status; those without a status are left out.", "namespace", "service", "route", "grpc_status")

	routes     = desc("serai_routes", "Routes that can take a request.")
	lingering  = desc("serai_routes_lingering", "Routes without an instance that are kept for --linger until a new one starts.")
	hosts      = desc("serai_hosts", "Hosts in the routing table, including patterns such as *.example.org.")
	rejections = desc("serai_rejections", "Current rejections: claims, tags and instances that are refused; serai rejections lists them.")
	quotaUsed  = desc("serai_quota_used", "How much of a quota all namespaces together use; table-memory and registration-bytes in bytes.", "quota")
	quotaLimit = desc("serai_quota_limit", "Quotas per service, per namespace and in total (--max-QUOTA-SCOPE).", "quota", "scope")
	quotaShare = desc("serai_quota_fullest_ratio", "Largest part of its quota that any namespace uses, from 0 to 1.", "quota")
	quotaOver  = desc("serai_quota_refusals", "Current rejections because a quota is used up.", "quota", "scope")
	quotaEnded = desc("serai_quota_unlingered_total", "Routes removed at once when their last instance ended, instead of kept for --linger, because a quota was used up.")
	tableIndex = desc("serai_table_index", "Nomad index of the current routing table.")

	ownSeries      = desc("serai_metrics_routes", "Called routes that have time series of their own on this node.")
	ownSeriesLimit = desc("serai_metrics_routes_limit", "Limit of serai_metrics_routes: --metrics-routes.")
	summedRoutes   = desc("serai_metrics_routes_summed", "Called routes beyond --metrics-routes: they share one time series per namespace, with an empty service label.")
)

// classes are the values of label class, by status/100.
var classes = [...]*dto.LabelPair{
	pair("class", "none"), pair("class", "1xx"), pair("class", "2xx"), pair("class", "3xx"), pair("class", "4xx"), pair("class", "5xx"),
}

// statuses are the values of label grpc_status.
var statuses = func() (all [router.GRPCStatuses]*dto.LabelPair) {
	for i := range all {
		all[i] = pair("grpc_status", strconv.Itoa(i))
	}
	return all
}()

// traffic collects the routes of the current table and the requests through them.
type traffic struct {
	router        *router.Router
	registrations func() []discovery.StoreStatus // nil for no limits
	ledger        *ledger
	exemplars     func() []tracing.Exemplar // nil for none
}

func newTraffic(o *Options) *traffic {
	return &traffic{router: o.Router, registrations: o.Registrations, ledger: newLedger(cmp.Or(o.MetricsRoutes, defaultMetricsRoutes)), exemplars: o.Exemplars}
}

// Describe describes nothing, because the metrics change with the services.
func (*traffic) Describe(chan<- *prometheus.Desc) {}

// Collect reads the table.
func (t *traffic) Collect(out chan<- prometheus.Metric) {
	table := t.router.Current()
	all, refusals := table.Routes(), countRefusals(table)
	names, waiting := 0, 0
	var p pace.Pace
	for i, r := range all { // sorted by host
		if p.Step(); i == 0 || r.Host != all[i-1].Host {
			names++
		}
		if r.Lingers() {
			waiting++
		}
	}
	gauge(out, routes, float64(len(all)))
	gauge(out, lingering, float64(waiting))
	gauge(out, hosts, float64(names))
	gauge(out, rejections, float64(refusals.all))
	gauge(out, tableIndex, float64(table.Index))
	collectQuotas(out, slices.Concat(table.Usage(), registrationUsage(t.registrations)), refusals.byQuota)
	lines, s := t.ledger.read(all, refusals.owners)
	gauge(out, ownSeries, float64(s.lines))
	gauge(out, ownSeriesLimit, float64(s.limit))
	gauge(out, summedRoutes, float64(s.summed))
	var exemplars map[seriesKey]*ofBuckets
	if t.exemplars != nil {
		exemplars = byRoute(t.exemplars())
	}
	collectSeries(out, lines, exemplars)
}

// refusals counts the rejections of a table.
type refusals struct {
	all     int
	byQuota map[string]int
	owners  map[owner]bool // services that have one
}

func countRefusals(table *router.Table) refusals {
	n := refusals{byQuota: make(map[string]int), owners: make(map[owner]bool)}
	var p pace.Pace
	for r := range table.EachRejection {
		p.Step()
		n.all++
		n.owners[owner{r.Namespace, r.Service}] = true
		if r.Quota != "" {
			n.byQuota[r.Quota]++
		}
	}
	return n
}

// registrationUsage is how full the limits of discovery are, in the words of the table's.
func registrationUsage(status func() []discovery.StoreStatus) (all []router.Usage) {
	if status == nil {
		return nil
	}
	orNone := func(limit int) int { return cmp.Or(limit, router.NoLimit) }
	for _, s := range status() {
		all = append(all, router.Usage{Quota: s.Quota, Used: s.Used, Fullest: s.Fullest,
			Limits: router.Limits{Service: router.NoLimit, Namespace: orNone(s.Limits.Namespace), Total: orNone(s.Limits.Total)}})
	}
	return all
}

// collectQuotas collects how full the quotas are, and their rejections.
func collectQuotas(out chan<- prometheus.Metric, all []router.Usage, refused map[string]int) {
	for i := range all {
		u := &all[i]
		gauge(out, quotaUsed, float64(u.Used), u.Quota)
		gauge(out, quotaShare, u.Fullest, u.Quota)
		for _, s := range []struct {
			scope string
			limit int
		}{{"service", u.Limits.Service}, {"namespace", u.Limits.Namespace}, {"total", u.Limits.Total}} {
			if s.limit < router.NoLimit {
				gauge(out, quotaLimit, float64(s.limit), u.Quota, s.scope)
			}
			gauge(out, quotaOver, float64(refused[u.Quota+"-"+s.scope]), u.Quota, s.scope)
		}
		if u.Quota == "lingering" {
			counter(out, quotaEnded, u.Refused)
		}
	}
}

// called is a route that has been called, and its counters at one moment.
type called struct {
	router.StatsSnapshot
	labels []*dto.LabelPair // sorted by name
	traces *ofBuckets       // nil for none
}

// collectSeries collects the routes. Routes that were not called are left out: most
// services of a large cluster are not called through most nodes.
//
// All are sent in the order in which the library sorts them, which saves it half of the
// work with ten thousand routes.
func collectSeries(out chan<- prometheus.Metric, all []series, exemplars map[seriesKey]*ofBuckets) {
	var p pace.Pace
	slices.SortFunc(all, func(a, b series) int {
		p.Step()
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.route, b.route), strings.Compare(a.service, b.service))
	})
	var list []called
	for i := range all {
		p.Step()
		s := &all[i]
		if n := s.snapshot(); n.Requests() > 0 || n.Inflight > 0 {
			list = append(list, called{n, []*dto.LabelPair{pair("namespace", s.namespace), pair("route", s.route), pair("service", s.service)}, exemplars[seriesKey{s.namespace, s.service, s.route}]})
		}
	}
	for class, label := range classes {
		for i := range list {
			p.Step()
			// The usual classes begin at 0, so that the first error of a route is an
			// increase.
			if c := &list[i]; class >= 2 || c.Classes[class] > 0 {
				labels := append([]*dto.LabelPair{label}, c.labels...)
				out <- &sample{desc: requests, labels: labels, counter: count(c.Classes[class])}
			}
		}
	}
	each := func(d *prometheus.Desc, fill func(*called, *sample)) {
		for i := range list {
			p.Step()
			m := &sample{desc: d, labels: list[i].labels}
			fill(&list[i], m)
			out <- m
		}
	}
	each(durations, func(c *called, m *sample) {
		m.histogram = histogram(&c.StatsSnapshot)
		addExemplars(m.histogram, c.traces)
	})
	each(inflight, func(c *called, m *sample) { v := float64(c.Inflight); m.gauge = &dto.Gauge{Value: &v} })
	each(bytesIn, func(c *called, m *sample) { m.counter = count(c.BytesIn) })
	each(bytesOut, func(c *called, m *sample) { m.counter = count(c.BytesOut) })
	each(retries, func(c *called, m *sample) { m.counter = count(c.Retries) })
	each(upgrades, func(c *called, m *sample) { m.counter = count(c.Upgrades) })
	collectGRPC(out, list)
}

// collectGRPC tells of the routes that have answered gRPC.
func collectGRPC(out chan<- prometheus.Metric, list []called) {
	for status, label := range statuses {
		for i := range list {
			if c := &list[i]; c.GRPC[status] > 0 || status == 0 && c.GRPC != [router.GRPCStatuses]uint64{} {
				out <- &sample{desc: answered, labels: append([]*dto.LabelPair{label}, c.labels...), counter: count(c.GRPC[status])}
			}
		}
	}
}

func count(n uint64) *dto.Counter {
	v := float64(n)
	return &dto.Counter{Value: &v}
}
