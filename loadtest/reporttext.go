package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

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
				text = fmt.Sprintf("%.2f", w.ratioTo(w.of(name), w.bench.value))
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
