package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

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
