package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// measurements makes a report of a bench with CPU times, the same in each round. Who
// takes less CPU has more requests a second, and here also a larger P99.
func measurements(b *bench, rounds int, cpu map[string]float64) *report {
	r := &report{}
	for range rounds {
		for peer, v := range cpu {
			r.add(b, peer, measured{CPU: v, Rate: 1e6 / v, P99: 1e3 / v}, nil)
		}
	}
	r.judge()
	return r
}

// TestTargets holds verdicts to values: a target is about the better of nginx
// and HAProxy, and a peer that wins is told as the winner.
func TestTargets(t *testing.T) {
	for name, c := range map[string]struct {
		bench   bench
		cpu     map[string]float64
		ratio   float64
		against string
		met     bool
	}{
		"better than both":  {bench{target: 0.9}, map[string]float64{"serai": 8, "nginx": 10, "haproxy": 16}, 0.8, "nginx", true},
		"better than one":   {bench{target: 1}, map[string]float64{"serai": 10, "nginx": 8, "haproxy": 16}, 1.25, "nginx", false},
		"about one of them": {bench{target: 1, against: "haproxy"}, map[string]float64{"serai": 8, "nginx": 4, "haproxy": 16}, 0.5, "haproxy", true},
		"a rate":            {bench{target: 1, rate: true}, map[string]float64{"serai": 8, "nginx": 4, "haproxy": 16}, 0.5, "nginx", false},
		"a burst":           {bench{target: 1, burst: true}, map[string]float64{"serai": 8, "nginx": 4, "haproxy": 16}, 2, "haproxy", false},
		"nothing promised":  {bench{}, map[string]float64{"serai": 20, "nginx": 10, "caddy": 90}, 2, "nginx", true},
		"an earlier build":  {bench{target: 0.9}, map[string]float64{"serai": 10, "before": 9.9, "nginx": 8}, 1 / 0.99, "before", true},
		"a worse build":     {bench{}, map[string]float64{"serai": 10, "before": 9.7}, 1 / 0.97, "before", false},
		"a slower build":    {bench{rate: true}, map[string]float64{"serai": 10.3, "before": 10}, 10 / 10.3, "before", false},
		"serai cannot":      {bench{target: 1}, map[string]float64{"nginx": 10}, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			c.bench.name = name
			r := measurements(&c.bench, 3, c.cpu)
			w := r.Rows[0]
			if math.Abs(w.Ratio-c.ratio) > 1e-9 || w.Against != c.against || w.Met != c.met {
				t.Errorf("ratio %v of %q, met %v; want %v of %q, %v", w.Ratio, w.Against, w.Met, c.ratio, c.against, c.met)
			}
			if (r.verdict() == nil) != c.met {
				t.Errorf("verdict %v", r.verdict())
			}
			r.print(io.Discard)
		})
	}
}

func TestTimesTraefik(t *testing.T) {
	r := measurements(&bench{name: "small", faster: 5}, 3, map[string]float64{"serai": 20, "traefik": 80})
	if err := r.verdict(); err == nil || len(r.Rows) != 2 || r.Rows[1].Ratio != 4 {
		t.Errorf("verdict %v, rows %d", err, len(r.Rows))
	}
	var out strings.Builder
	r.print(&out)
	if !strings.Contains(out.String(), "4.00 of traefik") || !strings.Contains(out.String(), "small, us CPU  1.00   0.25") || !strings.Contains(out.String(), ">= 5: MISSED") {
		t.Errorf("printed:\n%s", out.String())
	}
}

// TestRatioOfTheSameTurns holds a ratio to rounds that the same disturbance met.
func TestRatioOfTheSameTurns(t *testing.T) {
	b, r := &bench{name: "small", faster: 5}, &report{}
	for _, slow := range []float64{1, 3, 2} { // the far ones' turns are disturbed
		r.add(b, "serai", measured{CPU: 20, Rate: 50}, nil)
		r.add(b, "nginx", measured{CPU: 40, Rate: 25}, nil)
		r.add(b, "traefik", measured{CPU: 80 * slow, Rate: 10 / slow}, &measured{CPU: 20 * slow, Rate: 50 / slow})
	}
	r.judge()
	if w := r.Rows[0]; w.of("serai").Value != 20 || w.Ratio != 0.5 || w.ratioTo(w.of("traefik"), w.bench.value) != 0.25 {
		t.Errorf("serai %v, ratio %v of nginx, %v of traefik", w.of("serai").Value, w.Ratio, w.ratioTo(w.of("traefik"), w.bench.value))
	}
	if w := r.Rows[1]; w.Ratio != 5 || !w.Met {
		t.Errorf("%v times Traefik, met %v", w.Ratio, w.Met)
	}
}

func TestGroups(t *testing.T) {
	var all []*peer
	for _, k := range peerKinds() {
		if k.name != beforeName {
			all = append(all, &peer{kind: &k})
		}
	}
	names := func(b bench, round int, peers []*peer) (s string) {
		for _, g := range b.groups(peers, round) {
			for _, p := range g.peers {
				s += p.kind.name + " "
			}
			s += fmt.Sprintln(g.far)
		}
		return s
	}
	for _, c := range []struct {
		bench bench
		round int
		peers []*peer
		want  string
	}{
		{bench{}, 0, all, "serai nginx haproxy false\nserai caddy traefik fabio true\n"},
		{bench{}, 1, all, "nginx haproxy serai false\nserai caddy traefik fabio true\n"},
		{bench{}, 4, all, "serai nginx haproxy false\nserai traefik fabio caddy true\n"},
		{bench{}, 0, all[:3], "serai nginx haproxy false\n"},
		{bench{secure: true}, 0, all, "serai nginx haproxy false\nserai caddy traefik true\n"},
		{bench{secure: true, ask: ask{streams: 1}}, 0, all, "serai nginx haproxy false\nserai caddy traefik true\n"},
		{bench{secure: true, grpc: true, ask: ask{streams: 1}}, 0, all, "serai nginx haproxy false\n"},
		{bench{h2c: true, ask: ask{streams: 1}}, 0, all, "serai nginx haproxy false\n"},
	} {
		if got := names(c.bench, c.round, c.peers); got != c.want {
			t.Errorf("round %d: %q, want %q", c.round, got, c.want)
		}
	}
}
