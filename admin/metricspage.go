package admin

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// MetricsHandler serves /metrics and /health alone, for a listener that others than the
// operator reach: neither routes nor registrations, profiles or explanations. It answers
// to any name, since whoever scrapes may know serai by one.
func (a *Admin) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", a.gate.through(http.HandlerFunc(a.serveMetrics)))
	mux.HandleFunc("/health", health)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this listener has /metrics and /health; the rest is at --admin", http.StatusNotFound)
	})
	return readOnly(mux)
}

// serveMetrics gathers the metrics when its turn has come, and there is room for them. Each of
// several thousand routes has dozens.
func (a *Admin) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if g, ok := admit(a.gate, w, r, func() (*gathered, int64) { return gather(a.metrics.registry) }); ok {
		a.metrics.handler(g, a.options.Logger).ServeHTTP(w, r)
	}
}

// gathered are metrics that have been gathered already.
type gathered struct {
	families []*dto.MetricFamily
	err      error
}

// gather gathers metrics, and says about how much memory they take.
func gather(all prometheus.Gatherer) (g *gathered, bytes int64) {
	g = new(gathered)
	g.families, g.err = all.Gather()
	for _, f := range g.families {
		each := int64(sampleBytes)
		if f.GetType() == dto.MetricType_HISTOGRAM {
			each = histogramBytes
		}
		bytes += each * int64(len(f.Metric))
	}
	return g, bytes
}

// Gather returns them.
func (g *gathered) Gather() ([]*dto.MetricFamily, error) { return g.families, g.err }

// sampleBytes and histogramBytes are about what a counter or a gauge of a route takes, and a
// histogram.
const (
	sampleBytes    = 256
	histogramBytes = 4 << 10
)
