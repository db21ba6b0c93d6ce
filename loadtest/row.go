package main

import (
	"fmt"
	"slices"
)

// row is a scenario.
type row struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"` // of Value: "us CPU", "us p99", "per second" or "bytes"
	Peers []*entry `json:"peers"`
	// Ratio is serai's Value to that of Against, over the middle half of the
	// rounds.
	Ratio   float64 `json:"ratio,omitempty"`
	Against string  `json:"against,omitempty"`
	// Limit is the ratio, or with Unit bytes the value, that is promised; for
	// "per second" the least, else the most. 0 promises nothing.
	Limit float64 `json:"limit,omitempty"`
	Met   bool    `json:"met"`
	bench *bench
}

// entry is a proxy in a scenario.
type entry struct {
	Peer   string     `json:"peer"`
	Value  float64    `json:"value"`
	Rounds []measured `json:"rounds,omitempty"`
	// Beside is serai in the same turns, where they were not those of its own
	// entry.
	Beside []measured `json:"serai_beside,omitempty"`
}

func (w *row) of(peer string) *entry {
	for _, e := range w.Peers {
		if e.Peer == peer {
			return e
		}
	}
	e := &entry{Peer: peer}
	w.Peers = append(w.Peers, e)
	return e
}

func (w *row) has(peer string) bool {
	return slices.ContainsFunc(w.Peers, func(e *entry) bool { return e.Peer == peer })
}

// throughput returns a row about the requests a second of serai and Traefik in
// the same scenario.
func (w *row) throughput(least float64) *row {
	t := &row{Name: w.Name, Unit: "per second", Limit: least, bench: &bench{rate: true, against: "traefik"}}
	for _, e := range w.Peers {
		var all []float64
		for _, m := range e.Rounds {
			all = append(all, m.Rate)
		}
		t.of(e.Peer).Value = middleHalf(all)
	}
	t.Against, t.Ratio = "traefik", w.ratioTo(w.of("traefik"), func(m measured) float64 { return m.Rate })
	t.Met = t.Ratio >= least
	return t
}

// compare finds the ratio to the one that the target names, or to the better of
// nginx and HAProxy.
func (w *row) compare() {
	if !w.has(seraiName) {
		return
	}
	if w.has(beforeName) {
		w.Against, w.Limit, w.Ratio = beforeName, notWorse, w.ratioTo(w.of(beforeName), w.bench.value)
		if w.bench.rate {
			w.Limit = 1 / notWorse
		}
		w.judge()
		return
	}
	for _, e := range w.Peers {
		if e.Peer != "nginx" && e.Peer != "haproxy" || w.bench.against != "" && e.Peer != w.bench.against {
			continue
		}
		ratio := w.ratioTo(e, w.bench.value)
		if worse := ratio > w.Ratio; w.Against == "" || worse != w.bench.rate {
			w.Ratio, w.Against = ratio, e.Peer
		}
	}
	if w.Limit > 0 && w.Against != "" {
		w.judge()
	}
}

// notWorse is the ratio to an earlier build up to which it counts as kept.
const notWorse = 1.02

// judge reports whether the ratio keeps the limit.
func (w *row) judge() {
	if w.bench.rate {
		w.Met = w.Ratio >= w.Limit
	} else {
		w.Met = w.Ratio <= w.Limit
	}
}

// ratioTo returns serai's value to that of e, over the middle half of the rounds
// in which they took turns.
func (w *row) ratioTo(e *entry, value func(measured) float64) float64 {
	var ratios []float64
	serai := w.of("serai").Rounds
	if len(e.Beside) > 0 {
		serai = e.Beside
	}
	for i := range min(len(serai), len(e.Rounds)) {
		ratios = append(ratios, value(serai[i])/value(e.Rounds[i]))
	}
	return middleHalf(ratios)
}

func peerOrder(name string) int {
	return slices.IndexFunc(peerKinds(), func(k peerKind) bool { return k.name == name })
}

// middleHalf returns the mean of the middle half: a disturbed round changes it as
// little as the median, and chance changes it less.
func middleHalf(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	sum, cut := 0.0, len(all)/4
	all = all[cut : len(all)-cut]
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
}

// cells returns a row as text: scenario, a value for each peer, ratio, target.
func (w *row) cells(peers []string) []string {
	cells := []string{w.Name + ", " + w.Unit}
	for _, name := range peers {
		text := "-"
		for _, e := range w.Peers {
			if e.Peer == name {
				text = fmt.Sprintf("%.0f", e.Value)
				if e.Value < 100 {
					text = fmt.Sprintf("%.1f", e.Value)
				}
			}
		}
		cells = append(cells, text)
	}
	ratio, target := "-", "-"
	if w.Against != "" {
		ratio = fmt.Sprintf("%.2f of %s", w.Ratio, w.Against)
	}
	if w.Limit > 0 {
		sign, verdict := "<=", "met"
		if w.bench != nil && w.bench.rate {
			sign = ">="
		}
		switch {
		case w.bench != nil && w.Against == "":
			verdict = "nothing to compare with"
		case !w.Met:
			verdict = "MISSED"
		}
		target = fmt.Sprintf("%s %g: %s", sign, w.Limit, verdict)
	}
	return append(cells, ratio, target)
}

// latency returns a proxy's at the n-th load as text.
func (w *row) latency(peer string, n int) string {
	var rates, p50s, p99s, p999s []float64
	for _, e := range w.Peers {
		for _, m := range e.Rounds {
			if e.Peer == peer && n < len(m.Latencies) {
				l := m.Latencies[n]
				rates, p50s, p99s, p999s = append(rates, l.Rate), append(p50s, l.P50), append(p99s, l.P99), append(p999s, l.P999)
			}
		}
	}
	if len(rates) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f / %.0f / %.0f at %.0f", middleHalf(p50s), middleHalf(p99s), middleHalf(p999s), middleHalf(rates))
}
