package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	blue  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	red   = color.RGBA{R: 0xc4, G: 0x24, B: 0x24, A: 0xff}
	faint = color.RGBA{R: 0xb0, G: 0xb0, B: 0xb0, A: 0xff}
)

// drawTimeline draws r to a file in dir that is named after it: the slowest request of
// each tenth of a second, failures in red, and when each step happened.
func drawTimeline(dir string, r *result) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s: %d requests, %d failed (red)", r.Scenario, r.Requests, r.Failed)
	p.X.Label.Text, p.Y.Label.Text = "seconds", "slowest request, ms"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = 1, 10
	p.X.Max = float64(len(r.parts)) * part.Seconds() * 1.08 // room for the last name
	var slowest, failed plotter.XYs
	for i, t := range r.parts {
		at := plotter.XY{X: (float64(i) + 0.5) * part.Seconds(), Y: float64(max(t.LongestMS, 1))}
		p.Y.Max = max(p.Y.Max, math.Pow(10, math.Ceil(math.Log10(at.Y))))
		slowest = append(slowest, at)
		if t.Failed > 0 {
			failed = append(failed, at)
		}
	}
	var names plotter.XYLabels
	for i, m := range r.Marks {
		line, err := plotter.NewLine(plotter.XYs{{X: m.At, Y: p.Y.Min}, {X: m.At, Y: p.Y.Max}})
		if err != nil {
			return err
		}
		line.Color = faint
		p.Add(line)
		// A mark like the one before needs no name again.
		if i == 0 || strings.TrimRight(m.What, "0123456789") != strings.TrimRight(r.Marks[i-1].What, "0123456789") {
			height := p.Y.Max / math.Pow(1.6, float64(len(names.XYs)%3)+0.6) // neighbours beside each other
			names.XYs = append(names.XYs, plotter.XY{X: m.At, Y: height})
			names.Labels = append(names.Labels, " "+m.What)
		}
	}
	line, err := plotter.NewLine(slowest)
	if err != nil {
		return err
	}
	line.Color = blue
	p.Add(line)
	if len(failed) > 0 {
		points, err := plotter.NewScatter(failed)
		if err != nil {
			return err
		}
		points.GlyphStyle = draw.GlyphStyle{Color: red, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
		p.Add(points)
	}
	if len(names.Labels) > 0 {
		labels, err := plotter.NewLabels(names)
		if err != nil {
			return err
		}
		p.Add(labels)
	}
	canvas := vgsvg.New(24*vg.Centimeter, 7*vg.Centimeter)
	p.Draw(draw.New(canvas))
	f, err := os.Create(filepath.Join(dir, fileName(r.Scenario)+".svg"))
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// fileName makes words into a file's name.
func fileName(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}
