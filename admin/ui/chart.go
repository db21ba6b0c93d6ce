package ui

import (
	"fmt"
	"slices"
	"strings"
)

// The size of a chart, in the units of its own picture.
const (
	chartWidth  = 240
	chartHeight = 48
)

// largest is the largest value, at least a little, so that nothing is divided by zero.
func largest(lists ...[]float64) float64 {
	most := 0.001
	for _, values := range lists {
		if len(values) > 0 {
			most = max(most, slices.Max(values))
		}
	}
	return most
}

// line is the points of a line through values, the highest possible one being most. The
// newest value is at the right edge; a list that is not full begins further right.
func line(values []float64, most float64, room int) string {
	var b strings.Builder
	for i, v := range values {
		x := float64(chartWidth) * float64(room-len(values)+i) / float64(max(1, room-1))
		fmt.Fprintf(&b, "%.1f,%.1f ", x, 2+(chartHeight-4)*(1-min(1, v/most)))
	}
	return strings.TrimSuffix(b.String(), " ")
}

// area is line, closed along the bottom.
func area(values []float64, most float64, room int) string {
	if len(values) == 0 {
		return ""
	}
	first := float64(chartWidth) * float64(room-len(values)) / float64(max(1, room-1))
	return fmt.Sprintf("%.1f,%d %s %d,%d", first, chartHeight, line(values, most, room), chartWidth, chartHeight)
}
