package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

// alerts returns the names of the alerts that fire at a Prometheus.
func alerts(address string) (firing []string) {
	_, body := get(address, "localhost", "/api/v1/alerts")
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		return nil
	}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			firing = append(firing, a.Labels["alertname"])
		}
	}
	return firing
}

// runPrometheus runs one that scrapes an address five times a second, with our rules, whose
// alerts need not last: a test has no minutes. Features are those that it enables.
func runPrometheus(t *testing.T, program, target, features string) (address string) {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile(observability + "serai.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules = regexp.MustCompile(`(?m)^        for: .*$`).ReplaceAll(rules, []byte("        for: 0s"))
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\nrule_files: [rules.yml]\n"+
		"scrape_configs:\n- job_name: serai\n  static_configs: [{targets: [%q]}]\n", target)
	for name, text := range map[string][]byte{"rules.yml": rules, "prometheus.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address = testnet.Address(t)
	c := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--enable-feature="+features, "--log.level=warn")
	var out buffer
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", out.String())
		}
	})
	until(t, "Prometheus", func() bool { status, _ := get(address, "localhost", "/-/ready"); return status == 200 })
	return address
}

// query returns the value of an expression that has one result, empty for none.
func query(address, expression string) string {
	_, body := get(address, "localhost", "/api/v1/query?query="+url.QueryEscape(expression))
	var answer struct {
		Data struct{ Result []struct{ Value []any } }
	}
	if json.Unmarshal([]byte(body), &answer) != nil || len(answer.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

// TestObservabilityOutage stages an outage before a real Prometheus: nothing fires while all
// is well but for the tag that is refused; then an instance dies, Nomad goes away, and the config
// breaks, and the alerts that are meant for that fire, and those alone.
func TestObservabilityOutage(t *testing.T) {
	t.Parallel()
	program := tool(t, "prometheus")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fails := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-fails:
			w.WriteHeader(500)
		default:
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	shop := nomad.Registration{ID: "shop-1", ServiceName: "shop", Namespace: "default", AllocID: "alloc-shop", JobID: "shop",
		Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Tags: []string{"ingress.host=shop.example.org", "ingress.wait=0s", "ingress.x.host=x.example.org", "ingress.x.nonsense=1"}}
	_, nomadURL, away := nomadtest.Simulator(t, shop)
	config := filepath.Join(t.TempDir(), "serai.hcl")
	if err := os.WriteFile(config, []byte("drain_delay = \"0s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traffic, metrics := testnet.Address(t), testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": nomadURL}, "serve", "--config="+config, "--http="+traffic, "--admin=", "--metrics="+metrics, "--memory=256")
	ask := func(want int) {
		t.Helper()
		until(t, fmt.Sprint("an answer ", want), func() bool { status, _ := get(traffic, "shop.example.org", "/"); return status == want })
	}
	ask(200)
	prometheus := runPrometheus(t, program, metrics, "native-histograms")
	fire := func(want ...string) {
		t.Helper()
		var got []string
		until(t, fmt.Sprint("alerts ", want), func() bool {
			got = alerts(prometheus)
			slices.Sort(got)
			for _, w := range want {
				if !slices.Contains(got, w) {
					return false
				}
			}
			return true
		})
		for _, g := range got {
			if !slices.Contains(want, g) {
				t.Errorf("%s fires, too; want only %v", g, want)
			}
		}
	}
	fire("SeraiRejections")
	// The native histogram arrives, and holds what was asked.
	until(t, "a native histogram", func() bool {
		return query(prometheus, `histogram_count(serai_request_duration_seconds{service="shop"}) > 0`) != "" &&
			query(prometheus, `histogram_quantile(0.5, serai_request_duration_seconds{service="shop"}) < 30`) != ""
	})

	close(fails)
	until(t, "errors in two scrapes", func() bool {
		get(traffic, "shop.example.org", "/")
		return query(prometheus, `namespace_service:serai_errors:ratio_rate1h{service="shop"} > 0.0144`) != ""
	})
	fire("SeraiRejections", "SeraiErrorBudgetBurnsFast", "SeraiErrorBudgetBurnsSlowly")
	server.Close()
	ask(503)
	fire("SeraiRejections", "SeraiErrorBudgetBurnsFast", "SeraiErrorBudgetBurnsSlowly", "SeraiNoReadyInstance")
	if err := os.WriteFile(config, []byte("no_such_flag = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fire("SeraiRejections", "SeraiErrorBudgetBurnsFast", "SeraiErrorBudgetBurnsSlowly", "SeraiNoReadyInstance", "SeraiConfigRefused")
	away()
	fire("SeraiRejections", "SeraiErrorBudgetBurnsFast", "SeraiErrorBudgetBurnsSlowly", "SeraiNoReadyInstance", "SeraiConfigRefused", "SeraiSourceStale")
	p.stop()
	if err := p.wait(t); err != nil {
		t.Fatal(err)
	}
	until(t, "the alert of a serai that is gone", func() bool { return slices.Contains(alerts(prometheus), "SeraiDown") })
}

// TestMetricsListener has the metrics and nothing else, for any name, and is no instance.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	_, _, admin, metrics := observed(t)
	for path, want := range map[string]int{"/metrics": 200, "/health": 200, "/": 404, "/routes": 404, "/debug/pprof/": 404, "/ready": 404, "/explain?host=web.example.org": 404} {
		if status, body := get(metrics, "serai-metrics.service.example.org", path); status != want {
			t.Errorf("%s answers %d, want %d: %.100s", path, status, want, body)
		}
	}
	for _, c := range []struct {
		method, hops string
		want         int
	}{{"POST", "", 405}, {"GET", "1", 403}, {"HEAD", "", 200}} {
		r, err := http.NewRequest(c.method, "http://"+metrics+"/metrics", bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		if r.Close = true; c.hops != "" {
			r.Header.Set("X-Serai-Hops", c.hops)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != c.want {
			t.Errorf("%s with hops %q: %d, want %d", c.method, c.hops, res.StatusCode, c.want)
		}
	}
	if at := metric(admin, `serai_metrics_routes_limit`); at != "serai_metrics_routes_limit 20000\n" {
		t.Errorf("the admin says %q", at)
	}
}

// TestLastStop: a serai whose drain cut a request off tells the next one, which says so in
// its metrics; a stop that cuts nothing says that.
func TestLastStop(t *testing.T) {
	t.Parallel()
	hangs, arrived := make(chan struct{}), make(chan struct{}, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			arrived <- struct{}{}
			<-hangs
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { close(hangs); server.Close() })
	_, nomadURL, _ := nomadtest.Simulator(t, nomad.Registration{ID: "web-1", ServiceName: "web", Namespace: "default", AllocID: "alloc-web", JobID: "web",
		Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Tags: []string{"ingress.host=web.example.org"}})
	state := filepath.Join(t.TempDir(), "state")
	run := func(want string, hang bool) {
		t.Helper()
		traffic, admin := testnet.Address(t), testnet.Address(t)
		p := start(t, map[string]string{"NOMAD_ADDR": nomadURL}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=0s", "--drain-timeout=200ms", "--state-dir="+state)
		until(t, "an answer", func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
		if got := metric(admin, "serai_last_stop_cut_requests"); got != want {
			t.Errorf("the last stop is told as %q, want %q", got, want)
		}
		if hang {
			go get(traffic, "web.example.org", "/hang")
			<-arrived
		}
		p.stop()
		if err := p.wait(t); err != nil {
			t.Fatal(err)
		}
	}
	run("", true)
	run("serai_last_stop_cut_requests 1\n", false)
	run("serai_last_stop_cut_requests 0\n", false)
	if err := os.WriteFile(lastStopFile(state), []byte("{nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("", false)
}
