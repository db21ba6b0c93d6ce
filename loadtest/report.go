package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// report is the result of a comparison.
type report struct {
	Machine  string   `json:"machine"`
	Date     string   `json:"date"`
	Rounds   int      `json:"rounds"`
	Seconds  float64  `json:"seconds"`
	Versions []string `json:"versions"`
	Missing  []string `json:"missing,omitempty"`
	Rows     []*row   `json:"rows"`
	// LatencyRate is the most requests a second at which latencies are
	// measured.
	LatencyRate float64 `json:"latency_rate"`
}

func (r *report) row(name string) *row {
	for _, w := range r.Rows {
		if w.Name == name {
			return w
		}
	}
	w := &row{Name: name}
	r.Rows = append(r.Rows, w)
	return w
}

// add adds a round of a proxy, and of serai beside it if that was not the round in
// serai's own entry.
func (r *report) add(b *bench, peer string, m measured, beside *measured) {
	w := r.row(b.name)
	w.bench = b
	e := w.of(peer)
	e.Rounds = append(e.Rounds, m)
	if beside != nil {
		e.Beside = append(e.Beside, *beside)
	}
}

// judge sums up the rounds and compares them round by round, because a machine is
// faster in one round than in another for all proxies alike.
func (r *report) judge() {
	for _, w := range r.Rows {
		slices.SortStableFunc(w.Peers, func(a, b *entry) int { return peerOrder(a.Peer) - peerOrder(b.Peer) })
		if w.bench == nil {
			w.Met = w.Limit == 0 || w.of("serai").Value <= w.Limit
			continue
		}
		w.Unit, w.Limit, w.Met = w.bench.unit(), w.bench.target, true
		for _, e := range w.Peers {
			var all []float64
			for _, m := range e.Rounds {
				all = append(all, w.bench.value(m))
			}
			e.Value = middleHalf(all)
		}
		w.compare()
	}
	for _, w := range slices.Clone(r.Rows) {
		if w.bench != nil && w.bench.faster > 0 && w.has("serai") && w.has("traefik") {
			r.Rows = append(r.Rows, w.throughput(w.bench.faster))
		}
	}
}

// verdict is an error when a promise is broken.
func (r *report) verdict() error {
	var missed []string
	for _, w := range r.Rows {
		if !w.Met {
			missed = append(missed, w.Name)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// writeJSON writes results to a file, to none when the name is empty.
func writeJSON(file string, results any) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// machine says what this was measured on.
func machine() string {
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, %s %s", runtime.NumCPU(), model, runtime.GOOS, strings.TrimSpace(string(kernel)))
}
