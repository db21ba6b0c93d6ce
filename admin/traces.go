package admin

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"serai/router"
	"serai/tracing"
)

func collectTraces(out chan<- prometheus.Metric, s tracing.Status) {
	counter(out, spansSent, s.Exported)
	counter(out, spansLost, s.QueueFull, "queue-full")
	counter(out, spansLost, s.Failed, "refused")
	gauge(out, traceBytes, float64(s.Waiting))
	gauge(out, traceLimit, float64(s.Limit))
	counter(out, errorsLeft, s.ErrorsLeft)
}

// seriesKey is a route by the values of its labels.
type seriesKey struct{ namespace, service, route string }

// ofBuckets are the exemplars of one route, by bucket; nil for none.
type ofBuckets [len(router.DurationBounds) + 1]*dto.Exemplar

// byRoute sorts exemplars by route.
func byRoute(all []tracing.Exemplar) map[seriesKey]*ofBuckets {
	routes := make(map[seriesKey]*ofBuckets)
	for i := range all {
		e := &all[i]
		key := seriesKey{label(e.Namespace), label(e.Service), label(e.Route)}
		if routes[key] == nil {
			routes[key] = &ofBuckets{}
		}
		routes[key][e.Bucket] = &dto.Exemplar{Label: []*dto.LabelPair{pair("trace_id", e.TraceID)}, Value: &e.Seconds, Timestamp: timestamppb.New(e.At)}
	}
	return routes
}

// addExemplars adds exemplars to the buckets of a histogram, classic and native.
func addExemplars(h *dto.Histogram, of *ofBuckets) {
	if of == nil {
		return
	}
	for i, e := range of {
		if e == nil {
			continue
		}
		if i == len(h.Bucket) { // the bucket without a bound is written only for its exemplar
			infinite := math.Inf(1)
			h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: h.SampleCount, UpperBound: &infinite})
		}
		h.Bucket[i].Exemplar = e
		h.Exemplars = append(h.Exemplars, e)
	}
}
