package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"serai/consul"
	"serai/discovery"
	"serai/nomad"
)

// metrics are the metrics of /metrics. Most are read from the parts when they are
// requested, so that they cost a request nothing.
type metrics struct {
	registry *prometheus.Registry
	lag      prometheus.Histogram
	build    prometheus.Histogram
	nomad    *prometheus.CounterVec
	consul   *prometheus.CounterVec
	started  time.Time
	// openMetrics also offers the text format of OpenMetrics, the only one with exemplars. It
	// writes bounds of buckets in another way (le="1.0"), so that a Prometheus before 3.0
	// begins new series: it is offered only where there are exemplars.
	openMetrics bool
	// complete is the time from started to the first complete table, 0 before.
	complete atomic.Int64
}

func newMetrics(o *Options, draining *atomic.Bool) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), started: time.Now(), openMetrics: o.Exemplars != nil,
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "serai_discovery_lag_seconds", Help: "Time from when serai learned of a change until it was in the routing table.",
			Buckets:                     []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
		}),
		build: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "serai_table_build_seconds", Help: "Time to build and publish a routing table.",
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .25, 1},
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
		}),
		nomad: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serai_nomad_requests_total", Help: "Requests to Nomad's API, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		consul: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serai_consul_requests_total", Help: "Requests to Consul's API, by kind and outcome.",
		}, []string{"kind", "outcome"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "serai_build_info", Help: "Always 1; the label version is serai's version.",
		ConstLabels: prometheus.Labels{"version": label(o.Version)},
	})
	info.Set(1)
	m.registry.MustRegister(m.lag, m.build, m.nomad, m.consul, info,
		newTraffic(o), &state{options: o, metrics: m, draining: draining},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// nativeFactor is how much a bucket of the native histograms of tables is longer than the
// one before, nativeBuckets how many there are before they become longer.
const (
	nativeFactor  = 1.1
	nativeBuckets = 100
)

// handler serves what was gathered. What could not be read does not affect the rest.
func (m *metrics) handler(g prometheus.Gatherer, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: m.openMetrics,
	})
}

// published records a table.
func (m *metrics) published(s *discovery.Snapshot, took time.Duration) {
	m.build.Observe(took.Seconds())
	if !s.Changed.IsZero() {
		m.lag.Observe(max(0, time.Since(s.Changed).Seconds()))
	}
	if !s.Partial && s.Origin == discovery.OriginLive {
		m.complete.CompareAndSwap(0, int64(time.Since(m.started)))
	}
}

// outcome is the label for the result of a request to Nomad.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	for _, o := range []struct {
		err  error
		name string
	}{
		{nomad.ErrTokenRefused, "token-refused"}, {nomad.ErrForbidden, "forbidden"}, {nomad.ErrStreamRefused, "refused"},
		{nomad.ErrStreamSilent, "silent"}, {nomad.ErrStreamEnded, "ended"}, {nomad.ErrUnavailable, "unavailable"},
		{consul.ErrTokenRefused, "token-refused"}, {consul.ErrForbidden, "forbidden"}, {consul.ErrUnavailable, "unavailable"}, {consul.ErrBadAnswer, "bad-answer"},
		{nomad.ErrBadAnswer, "bad-answer"}, {nomad.ErrNotFound, "not-found"}, {nomad.ErrConflict, "conflict"},
		{context.Canceled, "canceled"}, {nomad.ErrUnreachable, "unreachable"}, {consul.ErrUnreachable, "unreachable"},
	} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	return "failed"
}
