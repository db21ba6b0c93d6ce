package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// report is what a comparison showed.
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

// row is a scenario.
type row struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"` // of Value: "us CPU", "per second" or "bytes"
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

// add notes a round of a proxy, and of serai beside it if that was another one
// than in serai's own entry.
func (r *report) add(b *bench, peer string, m measured, beside *measured) {
	w := r.row(b.name)
	w.bench = b
	e := w.of(peer)
	e.Rounds = append(e.Rounds, m)
	if beside != nil {
		e.Beside = append(e.Beside, *beside)
	}
}

// value is what a target is about.
func (w *row) value(m measured) float64 {
	if w.bench.rate {
		return m.Rate
	}
	return m.CPU
}

// judge sums up the rounds and compares: round by round, since a machine is faster
// in one round than in another for all alike.
func (r *report) judge() {
	for _, w := range r.Rows {
		slices.SortStableFunc(w.Peers, func(a, b *entry) int { return peerOrder(a.Peer) - peerOrder(b.Peer) })
		if w.bench == nil {
			w.Met = w.Limit == 0 || w.of("serai").Value <= w.Limit
			continue
		}
		w.Unit, w.Limit, w.Met = "us CPU", w.bench.target, true
		if w.bench.rate {
			w.Unit = "per second"
		}
		for _, e := range w.Peers {
			var all []float64
			for _, m := range e.Rounds {
				all = append(all, w.value(m))
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
	if !w.has("serai") {
		return
	}
	for _, e := range w.Peers {
		if e.Peer != "nginx" && e.Peer != "haproxy" || w.bench.against != "" && e.Peer != w.bench.against {
			continue
		}
		ratio := w.ratioTo(e, w.value)
		if worse := ratio > w.Ratio; w.Against == "" || worse != w.bench.rate {
			w.Ratio, w.Against = ratio, e.Peer
		}
	}
	if w.Limit == 0 || w.Against == "" {
		return
	}
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

// middleHalf returns the mean of the middle half: as little moved by a disturbed
// round as the median, and less by chance.
func middleHalf(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	sum, cut := 0.0, len(all)/4
	all = all[cut : len(all)-cut]
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
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

// latencies returns the rows of p50, p99 and p99.9, one for each load.
func (r *report) latencies(peers []string) (rows [][]string) {
	for _, w := range r.Rows {
		for n, load := range loads {
			cells := []string{fmt.Sprintf("%s, %.0f %%", w.Name, load*100)}
			measured := false
			for _, name := range peers {
				text := w.latency(name, n)
				measured = measured || text != "-"
				cells = append(cells, text)
			}
			if measured {
				rows = append(rows, cells)
			}
		}
	}
	return rows
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

func (r *report) peers() (names []string) {
	for _, k := range peerKinds() {
		if slices.ContainsFunc(r.Rows, func(w *row) bool {
			return slices.ContainsFunc(w.Peers, func(e *entry) bool { return e.Peer == k.name })
		}) {
			names = append(names, k.name)
		}
	}
	return names
}

// print writes the table.
func (r *report) print(to io.Writer) {
	fmt.Fprintf(to, "%s, %s; %d rounds of %g s for each, in turns; one core for the proxy, the other for load and origin\n%s\n\n",
		r.Date, r.Machine, r.Rounds, r.Seconds, strings.Join(r.Versions, "\n"))
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	peers := r.peers()
	fmt.Fprintf(t, "scenario\t%s\tratio\ttarget\n", strings.Join(peers, "\t"))
	for _, w := range r.Rows {
		fmt.Fprintln(t, strings.Join(w.cells(peers), "\t"))
	}
	t.Flush()
	r.printRatios(to, peers)
	for _, t := range []struct {
		title string
		of    func(measured) float64
	}{
		{"Throughput, per second", func(m measured) float64 { return m.Rate }},
		{"Resident memory, MB", func(m measured) float64 { return m.RSS / 1e6 }},
	} {
		r.printSummary(to, t.title, peers, t.of)
	}
	fmt.Fprintf(to, "\nLatency at parts of each one's maximum, at most %.0f requests a second: p50 / p99 / p99.9 in us, at so many a second\n", r.LatencyRate)
	t = tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\n", strings.Join(peers, "\t"))
	for _, cells := range r.latencies(peers) {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// printRatios writes serai's ratio to each of the others, not only to the one
// that a target is about.
func (r *report) printRatios(to io.Writer, peers []string) {
	fmt.Fprintln(to, "\nserai's ratio to each")
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\n", strings.Join(peers, "\t"))
	for _, w := range r.Rows {
		if w.bench == nil || !w.has("serai") || len(w.of("serai").Rounds) == 0 {
			continue
		}
		cells := []string{w.Name + ", " + w.Unit}
		for _, name := range peers {
			text := "-"
			if w.has(name) {
				text = fmt.Sprintf("%.2f", w.ratioTo(w.of(name), w.value))
			}
			cells = append(cells, text)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// printSummary writes a table of one of the things that were measured.
func (r *report) printSummary(to io.Writer, title string, peers []string, of func(measured) float64) {
	fmt.Fprintf(to, "\n%s\n", title)
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\n", strings.Join(peers, "\t"))
	for _, cells := range r.summaries(peers, of) {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// summaries returns a row for each scenario that was measured in rounds.
func (r *report) summaries(peers []string, of func(measured) float64) (rows [][]string) {
	for _, w := range r.Rows {
		if w.bench == nil || len(w.Peers[0].Rounds) == 0 {
			continue
		}
		cells := []string{w.Name}
		for _, name := range peers {
			var all []float64
			for _, e := range w.Peers {
				for _, m := range e.Rounds {
					if e.Peer == name {
						all = append(all, of(m))
					}
				}
			}
			text := "-"
			if len(all) > 0 {
				text = fmt.Sprintf("%.0f", middleHalf(all))
			}
			cells = append(cells, text)
		}
		rows = append(rows, cells)
	}
	return rows
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

//go:embed report.html
var reportPage string

// writeHTML writes one file that needs nothing else.
func (r *report) writeHTML(file string) error {
	page, err := template.New("report").Parse(reportPage)
	if err != nil {
		return err
	}
	type chart struct {
		Name, Target string
		SVG          template.HTML
	}
	peers := r.peers()
	data := struct {
		*report
		Peers     []string
		Table     [][]string
		Latencies [][]string
		Charts    []chart
		Configs   map[string]string
	}{report: r, Peers: peers, Latencies: r.latencies(peers), Configs: make(map[string]string)}
	for _, w := range r.Rows {
		cells := w.cells(peers)
		data.Table = append(data.Table, cells)
		svg, err := w.draw()
		if err != nil {
			return err
		}
		data.Charts = append(data.Charts, chart{w.Name, cells[len(cells)-1], template.HTML(svg)})
	}
	for _, k := range peerKinds() {
		for _, name := range k.files {
			if text, err := peerFiles.ReadFile("peers/" + name); err == nil && slices.Contains(peers, k.name) {
				data.Configs[name] = string(text)
			}
		}
	}
	var out bytes.Buffer
	if err := page.Execute(&out, data); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// draw returns bars, one for each proxy, as SVG.
func (w *row) draw() (string, error) {
	p := plot.New()
	p.Title.Text = w.Name
	p.Y.Label.Text = w.Unit
	p.Y.Min = 0
	var names []string
	for i, e := range w.Peers {
		bars, err := plotter.NewBarChart(plotter.Values{e.Value}, vg.Points(36))
		if err != nil {
			return "", err
		}
		bars.XMin, bars.Color, bars.LineStyle.Width = float64(i), faint, 0
		if e.Peer == "serai" {
			bars.Color = blue
		}
		p.Add(bars)
		names = append(names, e.Peer)
	}
	p.NominalX(names...)
	p.X.Max = float64(len(names)) - 0.5
	canvas := vgsvg.New(12*vg.Centimeter, 7*vg.Centimeter)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", err
	}
	// Inside of a page an SVG has no XML declaration.
	text := out.String()
	return text[strings.Index(text, "<svg"):], nil
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
