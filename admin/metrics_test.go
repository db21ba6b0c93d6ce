package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"serai/admin"
	"serai/consul"
	"serai/discovery"
	"serai/front"
	"serai/internal/history"
	"serai/nomad"
	"serai/proxy"
	"serai/router"
)

// scrape reads /metrics as Prometheus does.
func (n *node) scrape() map[string]*dto.MetricFamily {
	n.Helper()
	status, body := n.get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil || status != 200 {
		n.Fatalf("/metrics answered %d, which reads as: %v\n%s", status, err, body)
	}
	return families
}

// busy makes a node where every metric has a value.
func busy(t testing.TB) *node {
	source := &sources{}
	source.set(discovery.Status{
		Source: "nomad *", Phase: discovery.Stale, Since: time.Now().Add(-60_000 * time.Second), Heard: time.Now().Add(-120_000 * time.Second),
		Services: 3, Instances: 7, Events: 11, Breaks: 2, Scans: 5, Continued: 1,
		Forbidden: []discovery.Forbidden{{Namespace: "team-b", Since: time.Now().Add(-time.Minute), Problem: "permission denied"}},
	}, discovery.Status{Source: "file a", Phase: discovery.Live, Since: time.Now()})
	cut := 3
	n := newNode(t, admin.Options{
		Sources: []admin.Reporter{source}, LastStopCut: &cut,
		Listeners: []admin.Listener{{Name: "http", Status: func() front.Status {
			return front.Status{Conns: 4, Accepted: 40, Refused: 3, Recalled: 7, AcceptErrors: 2, Handshakes: 5, HandshakesRefused: 6}
		}}},
		History: history.NewRing(0), LogDropped: func() uint64 { return 12 }, AccessLogDropped: func() uint64 { return 9 }, AccessLogSkipped: func() uint64 { return 8 },
	}, router.Options{})
	n.set("web", instance("ingress.host=web.example.org,www.example.org", "ingress.x.host=x.example.org", "ingress.x.nothing=1"))
	call(n.stats("web"), 200)
	n.proxy.Count(proxy.ReasonPanic)
	n.admin.NomadRequest(nomad.KindServices, nil)
	n.admin.ConsulRequest(consul.KindServices, nil)
	return n
}

// TestMetricNames compares name, type, labels and help with a golden, because
// dashboards and alerts rely on them.
func TestMetricNames(t *testing.T) {
	n := busy(t)
	var lines []string
	for name, family := range n.scrape() {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, l := range family.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s: %s\n", name, strings.Join(labels, ","), strings.ToLower(family.GetType().String()), family.GetHelp()))
	}
	slices.Sort(lines)
	golden(t, "metrics.golden", strings.Join(lines, ""))

	_, body := n.get("/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{"go_goroutines", "process_open_fds"} {
		if n.metric(want+" ") == "" {
			t.Errorf("no %s", want)
		}
	}
}

// TestMetricValues checks one value of each kind.
func TestMetricValues(t *testing.T) {
	n := busy(t)
	_, body := n.get("/metrics")
	route := `namespace="default",route="",service="web"`
	for _, want := range []string{
		`serai_requests_total{class="2xx",` + route + `} 1`,
		`serai_requests_total{class="5xx",` + route + `} 0`,
		`serai_request_duration_seconds_bucket{` + route + `,le="0.0025"} 0`,
		`serai_request_duration_seconds_bucket{` + route + `,le="0.005"} 1`,
		`serai_request_duration_seconds_bucket{` + route + `,le="+Inf"} 1`,
		`serai_request_duration_seconds_sum{` + route + `} 0.003`,
		`serai_requests_in_flight{` + route + `} 0`,
		`serai_request_body_bytes_total{` + route + `} 10`,
		`serai_response_body_bytes_total{` + route + `} 100`,
		`serai_retries_total{` + route + `} 1`,
		`serai_upgrades_total{` + route + `} 0`,
		`serai_grpc_answers_total{grpc_status="0",` + route + `} 0`, `serai_grpc_answers_total{grpc_status="14",` + route + `} 1`,
		`serai_answers_total{reason="panic"} 1`,
		`serai_endpoints{namespace="default",service="web",state="probing"} 1`, `serai_endpoints{namespace="default",service="web",state="ready"} 0`,
		`serai_endpoints{namespace="",service="",state="ready"} 0`,
		`serai_routes 2`, `serai_hosts 2`, `serai_rejections 1`, `serai_table_index 1`, `serai_routes_lingering 0`,
		`serai_services{source="nomad *"} 3`, `serai_instances{source="nomad *"} 7`,
		`serai_source_phase{phase="stale",source="nomad *"} 1`, `serai_source_phase{phase="live",source="nomad *"} 0`,
		`serai_source_stale_seconds{source="nomad *"} 600`, `serai_source_stale_seconds{source="file a"} 0`,
		`serai_stream_age_seconds{source="nomad *"} 1200`,
		`serai_source_events_total{source="nomad *"} 11`, `serai_source_breaks_total{source="nomad *"} 2`, `serai_source_scans_total{source="nomad *"} 5`,
		`serai_connections{listener="http"} 4`, `serai_connections_accepted_total{listener="http"} 40`,
		`serai_connections_refused_total{listener="http"} 3`, `serai_connections_recalled_total{listener="http"} 7`, `serai_accept_errors_total{listener="http"} 2`,
		`serai_tls_handshakes_in_flight{listener="http"} 5`, `serai_tls_handshakes_refused_total{listener="http"} 6`,
		`serai_access_log_dropped_total 9`, `serai_log_dropped_total 12`, `serai_build_info{version="1.2.3"} 1`,
		`serai_discovery_lag_seconds_count 1`, `serai_table_build_seconds_count 1`,
		`serai_nomad_requests_total{kind="services",outcome="ok"} 1`, `serai_first_complete_seconds `,
		`serai_draining 0`, `serai_last_stop_cut_requests 3`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{"10.0.0.1", `route="x"`, `stream_age_seconds{source="file a"}`} {
		if strings.Contains(body, never) {
			t.Errorf("%s is there: addresses and routes that nobody calls are not", never)
		}
	}
}

// TestOutcomes maps errors of Nomad to labels.
func TestOutcomes(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for want, err := range map[string]error{
		"ok": nil, "failed": errors.New("something"), "unreachable": &nomad.Error{Kind: nomad.ErrUnreachable}, "forbidden": nomad.ErrForbidden,
		"token-refused": nomad.ErrTokenRefused, "refused": nomad.ErrStreamRefused, "silent": nomad.ErrStreamSilent, "ended": nomad.ErrStreamEnded,
		"unavailable": nomad.ErrUnavailable, "bad-answer": fmt.Errorf("list: %w", nomad.ErrBadAnswer), "not-found": nomad.ErrNotFound,
		"conflict": nomad.ErrConflict, "canceled": fmt.Errorf("list: %w", context.Canceled),
	} {
		n.admin.NomadRequest(nomad.KindStream, err)
		if line := fmt.Sprintf("serai_nomad_requests_total{kind=\"stream\",outcome=%q} 1\n", want); !strings.Contains(n.metric("serai_nomad"), line) {
			t.Errorf("%v is not counted as %s", err, want)
		}
	}
}

// TestLag is measured only for single changes, and the first complete table
// only once, from a source that is there.
func TestLag(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.admin.Published(&discovery.Snapshot{Origin: discovery.OriginCache}, time.Millisecond)
	n.admin.Published(&discovery.Snapshot{Partial: true}, time.Millisecond)
	if got := n.metric("serai_first_complete_seconds"); got != "" {
		t.Errorf("a cached or partial table counts as complete: %s", got)
	}
	n.admin.Published(&discovery.Snapshot{}, time.Millisecond)
	first := n.metric("serai_first_complete_seconds ")
	n.admin.Published(&discovery.Snapshot{Changed: time.Now().Add(-20 * time.Millisecond)}, time.Millisecond)
	if again := n.metric("serai_first_complete_seconds "); first == "" || again != first {
		t.Errorf("the first complete table was %q, then %q", first, again)
	}
	if got := n.metric("serai_discovery_lag_seconds_count"); got != "serai_discovery_lag_seconds_count 1\n" {
		t.Errorf("want one lag: %s", got)
	}
	if got := n.metric(`serai_discovery_lag_seconds_bucket{le="0.01"}`); !strings.HasSuffix(got, " 0\n") {
		t.Errorf("a lag of 20 ms is in %s", got)
	}
	if got := n.metric("serai_table_build_seconds_count"); got != "serai_table_build_seconds_count 4\n" {
		t.Errorf("want four tables: %s", got)
	}
}

// TestForeignNames makes valid labels of anything, and one series of two names with
// equal labels.
func TestForeignNames(t *testing.T) {
	source := &sources{}
	same := discovery.Status{Source: "file \xff", Phase: discovery.Live}
	source.set(same, same) // whose labels are equal
	n := newNode(t, admin.Options{Sources: []admin.Reporter{source}}, router.Options{})
	for i, name := range []string{"a\xff", "a\xfe", "esc\x1b[31m", "line\nfeed\"quote\\", "größe"} {
		n.set(name, instance(fmt.Sprintf("ingress.host=h%d.example.org", i)))
		call(n.stats(name), 200)
	}
	families := n.scrape()
	got := make(map[string]float64)
	for _, m := range families["serai_requests_total"].Metric {
		service := ""
		for _, l := range m.Label {
			if l.GetName() == "service" {
				service = l.GetValue()
			}
		}
		got[service] += m.Counter.GetValue()
	}
	want := map[string]float64{"a\uFFFD": 2, "esc\uFFFD[31m": 1, "line\uFFFDfeed\"quote\\": 1, "größe": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(families["serai_source_phase"].Metric) == 0 || len(families["serai_routes"].Metric) != 1 {
		t.Error("two sources of one name take other metrics with them")
	}
}
