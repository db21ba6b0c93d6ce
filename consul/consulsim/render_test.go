package consulsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// render writes an answer with everything that a client may read.
func render(t *testing.T, a answer, c cluster) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	for _, k := range slices.Sorted(maps.Keys(a.head)) {
		v := strings.Join(a.head[k], ", ")
		switch k {
		case "Date", "Content-Length":
			continue
		case "X-Consul-Index":
			v = index(v)
		}
		fmt.Fprintf(&b, "%s: %s\n", k, v)
	}
	port := strconv.Itoa(c.serverPort())
	body := strings.NewReplacer(`:`+port+`"`, `:8300"`, `"Port":`+port, `"Port":8300`, `"ServicePort":`+port, `"ServicePort":8300`).Replace(a.body)
	var v any
	if a.head.Get("Content-Type") == "application/json" && body != "" {
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %q", err, body)
		}
		sortTags(v)
		renderValue(&b, v, 0)
		b.WriteByte('\n')
	} else if body != "" {
		b.WriteString(strings.TrimSuffix(body, "\n") + "\n")
	}
	return b.String()
}

// sortTags sorts the tags of each service in the list of services, which are in no order.
func sortTags(v any) {
	names, _ := v.(map[string]any)
	for _, tags := range names {
		if tags, ok := tags.([]any); ok {
			slices.SortFunc(tags, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
}

// renderValue writes JSON with sorted keys: three levels on lines of their own, the rest
// on one.
func renderValue(b *strings.Builder, v any, depth int) {
	const deepest = 2
	open := func(c byte) { b.WriteByte(c) }
	separate := func(first bool, end bool) {
		if !first && !end {
			b.WriteByte(',')
		}
		if depth < deepest {
			b.WriteByte('\n')
			indent := depth + 1
			if end {
				indent = depth
			}
			b.WriteString(strings.Repeat("  ", indent))
		} else if !first && !end {
			b.WriteByte(' ')
		}
	}
	switch v := v.(type) {
	case []any:
		open('[')
		for i, e := range v {
			separate(i == 0, false)
			renderValue(b, e, depth+1)
		}
		if len(v) > 0 {
			separate(false, true)
		}
		open(']')
	case map[string]any:
		open('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			separate(i == 0, false)
			fmt.Fprintf(b, "%q: ", k)
			if n, ok := v[k].(json.Number); ok && (k == "CreateIndex" || k == "ModifyIndex") {
				b.WriteString(index(n.String()))
				continue
			}
			renderValue(b, v[k], depth+1)
		}
		if len(v) > 0 {
			separate(false, true)
		}
		open('}')
	default:
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.Encode(v)
		b.WriteString(strings.TrimSpace(text.String()))
	}
}

// index marks a number as an index, which ranked replaces. 0 and 1 are none.
func index(n string) string {
	if n == "0" || n == "1" {
		return n
	}
	return "@" + n
}

// uncompared is what a transcript says in which the order of writes is not certain.
var uncompared = regexp.MustCompile(`indexes\s+(# )?are not compared\.`)

var indexes = regexp.MustCompile(`@\d+`)

func masked(answer string) string { return indexes.ReplaceAllString(answer, "@") }

// ranked replaces each index by its rank.
func ranked(text string) string {
	var all []int
	for _, m := range indexes.FindAllString(text, -1) {
		n, _ := strconv.Atoi(m[1:])
		all = append(all, n)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return indexes.ReplaceAllStringFunc(text, func(m string) string {
		n, _ := strconv.Atoi(m[1:])
		rank, _ := slices.BinarySearch(all, n)
		return fmt.Sprintf("@%d", rank+1)
	})
}

// difference lists the lines that differ, each with its request.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	request, shown := "", ""
	for i, j := 0, 0; i < len(w) || j < len(g); {
		switch {
		case i < len(w) && j < len(g) && w[i] == g[j]:
			if strings.HasPrefix(w[i], "> ") || strings.HasPrefix(w[i], "~ ") {
				request = w[i]
			}
			i, j = i+1, j+1
			continue
		case request != shown:
			fmt.Fprintln(&b, request)
			shown = request
		}
		// The nearest line that both have.
		di, dj := nearest(w[i:], g[j:])
		for range di {
			fmt.Fprintf(&b, "  want %s\n", w[i])
			i++
		}
		for range dj {
			fmt.Fprintf(&b, "  got  %s\n", g[j])
			j++
		}
	}
	return b.String()
}

func nearest(w, g []string) (int, int) {
	for sum := 1; sum <= len(w)+len(g); sum++ {
		for di := range min(sum, len(w)) + 1 {
			if dj := sum - di; dj <= len(g) && (di == len(w) && dj == len(g) || di < len(w) && dj < len(g) && w[di] == g[dj]) {
				return di, dj
			}
		}
	}
	return len(w), len(g)
}
