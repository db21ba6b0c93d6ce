package admin_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"serai/admin"
	"serai/router"
)

// protobuf reads one metric as a Prometheus does that takes native histograms.
func (n *node) protobuf(name string) *dto.MetricFamily {
	n.Helper()
	r, err := http.NewRequest("GET", n.url+"/metrics", nil)
	if err != nil {
		n.Fatal(err)
	}
	r.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer res.Body.Close()
	for decoder := expfmt.NewDecoder(res.Body, expfmt.ResponseFormat(res.Header)); ; {
		family := &dto.MetricFamily{}
		if err := decoder.Decode(family); err != nil {
			n.Fatalf("%s is not there: %v", name, err)
		}
		if family.GetName() == name {
			return family
		}
	}
}

// buckets returns the counts of a native histogram by the keys of its buckets.
func buckets(h *dto.Histogram) map[int]uint64 {
	all, key, at, count := make(map[int]uint64), 0, 0, int64(0)
	for _, span := range h.PositiveSpan {
		key += int(span.GetOffset())
		for range span.GetLength() {
			if count += h.PositiveDelta[at]; count > 0 {
				all[key] = uint64(count)
			}
			key, at = key+1, at+1
		}
	}
	return all
}

// TestNativeHistogram compares the native histogram of a route with what client_golang
// makes of the same durations, and with the classic one.
func TestNativeHistogram(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.set("web", instance("ingress.host=web.example.org"))
	stats := n.stats("web")
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "theirs", Buckets: router.DurationBounds[:],
		NativeHistogramBucketFactor: 1.2, NativeHistogramZeroThreshold: router.NativeZero,
	})
	for i := range 5_000 {
		d := time.Duration(math.Exp2(10 + rand.Float64()*25)) // 1 us to 34 s
		if i%100 == 0 {
			d = time.Duration(router.DurationBounds[i/100%len(router.DurationBounds)] * 1e9)
		}
		theirs.Observe(d.Seconds())
		stats.Begin()
		stats.Observe(i, &router.Observation{Status: 200, Duration: d})
	}
	got, want := n.protobuf("serai_request_duration_seconds").Metric[0].Histogram, &dto.Metric{}
	if err := theirs.Write(want); err != nil {
		t.Fatal(err)
	}
	w := want.Histogram
	if got.GetSchema() != w.GetSchema() || got.GetZeroCount() != w.GetZeroCount() || got.GetSampleCount() != w.GetSampleCount() || got.GetZeroThreshold() != w.GetZeroThreshold() {
		t.Errorf("got schema %d, zero %d up to %v, count %d; want %d, %d, %v, %d", got.GetSchema(), got.GetZeroCount(), got.GetZeroThreshold(), got.GetSampleCount(),
			w.GetSchema(), w.GetZeroCount(), w.GetZeroThreshold(), w.GetSampleCount())
	}
	ours, all := buckets(got), buckets(w)
	if len(all) < 50 {
		t.Fatalf("only %d buckets are used: this test shows little", len(all))
	}
	sum := got.GetZeroCount()
	for key := -100; key < 100; key++ {
		if sum += ours[key]; ours[key] != all[key] {
			t.Errorf("bucket %d has %d, want %d", key, ours[key], all[key])
		}
	}
	if sum != got.GetSampleCount() {
		t.Errorf("the native buckets have %d, the count is %d", sum, got.GetSampleCount())
	}
	for i, b := range got.Bucket {
		if b.GetCumulativeCount() != w.Bucket[i].GetCumulativeCount() {
			t.Errorf("up to %v: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), w.Bucket[i].GetCumulativeCount())
		}
	}
}
