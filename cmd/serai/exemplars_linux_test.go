package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"syscall"
	"testing"
	"time"
)

// exemplarsAt are the IDs of the traces that a Prometheus has for a selector.
func exemplarsAt(address, selector string) (ids []string) {
	now := time.Now()
	_, body := get(address, "localhost", fmt.Sprintf("/api/v1/query_exemplars?query=%s&start=%d&end=%d", url.QueryEscape(selector), now.Add(-time.Hour).Unix(), now.Add(time.Hour).Unix()))
	var answer struct {
		Data []struct {
			Exemplars []struct{ Labels map[string]string }
		}
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		return nil
	}
	for _, series := range answer.Data {
		for _, e := range series.Exemplars {
			ids = append(ids, e.Labels["trace_id"])
		}
	}
	return ids
}

// TestObservabilityExemplars: a real Prometheus stores the exemplars of serai's metrics, in
// OpenMetrics and, where it wants native histograms, in Protobuf; each names a trace that the
// collector has.
func TestObservabilityExemplars(t *testing.T) {
	t.Parallel()
	program := tool(t, "prometheus")
	for name, features := range map[string]string{"OpenMetrics": "exemplar-storage", "Protobuf": "exemplar-storage,native-histograms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, n := newCollector(t), bare(t)
			n.run(nil, "--no-nomad", "--services="+servicesFile(t, "web.example.org"), "--otlp="+c.URL, "--trace-share=1")
			until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
			prometheus := runPrometheus(t, program, n.admin, features)
			var ids []string
			until(t, "exemplars", func() bool {
				if status, body := get(n.http, "web.example.org", "/"); status != 200 {
					t.Fatalf("answered %d %s", status, body)
				}
				ids = exemplarsAt(prometheus, `{__name__=~"serai_request_duration_seconds(_bucket)?",service="web"}`)
				return len(ids) > 0
			})
			for _, id := range ids {
				if len(c.trace(id)) == 0 {
					t.Errorf("the collector has no trace %q, only of %v", id, slices.Sorted(slices.Values(ids)))
				}
			}
			n.kill(syscall.SIGTERM)
		})
	}
}
