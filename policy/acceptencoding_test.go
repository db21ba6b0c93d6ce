package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"serai/internal/coding"
	"serai/wire"
)

// chosen are the codings for a request with these Accept-Encoding fields.
func chosen(from []coding.Coding, values ...string) string {
	fields := []wire.Field{field("Accept", "gzip"), field("Accept-Language", "br")}
	for _, v := range values {
		fields = append(fields, field("Accept-Encoding", v))
	}
	a := readAccepted(fields)
	var names []string
	for _, c := range a.choose(nil, from) {
		names = append(names, c.String())
	}
	return strings.Join(names, " ")
}

func TestAcceptEncoding(t *testing.T) {
	for _, c := range []struct {
		values []string // by lines
		want   string
	}{
		{nil, ""}, {[]string{""}, ""}, {[]string{"identity"}, ""}, {[]string{"deflate"}, ""}, {[]string{","}, ""},
		{[]string{"gzip"}, "gzip"}, {[]string{"GZip"}, "gzip"}, {[]string{"x-gzip"}, "gzip"}, {[]string{"X-GZIP"}, "gzip"},
		{[]string{"gzip, deflate, br, zstd"}, "zstd br gzip"}, {[]string{"gzip,deflate,br"}, "br gzip"},
		{[]string{"*"}, "zstd br gzip"}, {[]string{"*;q=0"}, ""}, {[]string{"gzip, *;q=0"}, "gzip"}, {[]string{"*, gzip;q=0"}, "zstd br"},
		{[]string{"zstd;q=0.1, br;q=0.2, gzip;q=0.3"}, "gzip br zstd"}, {[]string{"zstd;q=0.5, br;q=0.5, gzip"}, "gzip zstd br"},
		{[]string{"gzip;q=0"}, ""}, {[]string{"gzip;q=0.0"}, ""}, {[]string{"gzip;q=0.000"}, ""}, {[]string{"gzip;q=0."}, ""}, {[]string{"gzip;q=0.001"}, "gzip"},
		{[]string{"gzip;q=1"}, "gzip"}, {[]string{"gzip;q=1."}, "gzip"}, {[]string{"gzip;q=1.000"}, "gzip"}, {[]string{"gzip;Q=0.5"}, "gzip"},
		{[]string{"gzip \t; \tq=0.5 \t, br"}, "br gzip"},
		// What is not the grammar is not there.
		{[]string{"gzip;q=1.1"}, ""}, {[]string{"gzip;q=2"}, ""}, {[]string{"gzip;q=-1"}, ""}, {[]string{"gzip;q=0.0001"}, ""}, {[]string{"gzip;q=.5"}, ""},
		{[]string{"gzip;q"}, ""}, {[]string{"gzip;q="}, ""}, {[]string{"gzip;"}, ""}, {[]string{"gzip;q=0.5;x=1"}, ""}, {[]string{"gzip;x=1"}, ""},
		{[]string{"gzip;q=1x"}, ""}, {[]string{"gzip;q= 1"}, ""}, {[]string{"gzip;q=\"1\""}, ""}, {[]string{"gzip q=1"}, ""}, {[]string{"gzip\x00"}, ""}, {[]string{"\"gzip\""}, ""},
		{[]string{"gzip;q=nan, br"}, "br"}, {[]string{"gzipp, xgzip, brotli, zst, zstandard, gzi"}, ""},
		// What the client likes better, or not at all.
		{[]string{"identity, gzip;q=0.5"}, ""}, {[]string{"identity;q=0.5, gzip"}, "gzip"}, {[]string{"identity;q=0.5, gzip;q=0.5"}, "gzip"},
		{[]string{"identity;q=0, gzip;q=0.1"}, "gzip"}, {[]string{"identity;q=1, *;q=0"}, ""}, {[]string{"identity;q=0"}, ""}, {[]string{"identity;q=0.4, *;q=0.5, br;q=0.3"}, "zstd gzip"},
		// Several fields are one list, and of several elements the lowest counts.
		{[]string{"gzip", "br"}, "br gzip"}, {[]string{"gzip, gzip;q=0"}, ""}, {[]string{"gzip;q=0", "gzip"}, ""}, {[]string{"x-gzip;q=0, gzip"}, ""},
		{[]string{strings.Repeat("a, ", 5000) + "gzip"}, "gzip"},
	} {
		if got := chosen(coding.Codings(), c.values...); got != c.want {
			t.Errorf("%.60q: %q, want %q", c.values, got, c.want)
		}
	}
	if got := chosen([]coding.Coding{coding.Gzip, coding.Zstd}, "zstd, br, gzip"); got != "gzip zstd" {
		t.Errorf("in the order of the route: %q", got)
	}
}

// element is the grammar of an element (RFC 9110 sections 12.4.2 and 12.5.3).
var element = regexp.MustCompile(`^[ \t]*([^;, \t]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?$`)

// oracle is what chosen is to return, written down as the RFC puts it.
func oracle(from []coding.Coding, values ...string) string {
	weights := make(map[string]float64)
	for e := range strings.SplitSeq(strings.Join(values, ","), ",") {
		m := element.FindStringSubmatch(e)
		if m == nil {
			continue
		}
		name, q := string(asciiLower(m[1])), 1.0
		if name == "x-gzip" {
			name = "gzip"
		}
		if m[2] != "" {
			q, _ = strconv.ParseFloat(m[2], 64)
		}
		if old, ok := weights[name]; !ok || q < old {
			weights[name] = q
		}
	}
	weight := func(name string) float64 {
		if q, ok := weights[name]; ok {
			return q
		}
		return weights["*"]
	}
	var names []string
	for _, c := range from {
		if q := weight(c.String()); q > 0 && q >= weights["identity"] {
			names = append(names, c.String())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch qa, qb := weight(a), weight(b); {
		case qa > qb:
			return -1
		case qa < qb:
			return 1
		}
		return 0
	})
	return strings.Join(names, " ")
}

// asciiLower is without what folds into ASCII, such as U+212A.
func asciiLower(s string) []byte {
	b := []byte(s)
	for i := range b {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}

// FuzzAcceptEncoding compares the parser with one that is written as the RFC is.
func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"", "gzip, deflate, br, zstd", "gzip;q=0.5,*;q=0", "identity;q=0.3 , br ; q=0.300,x-gzip", "gzip;q=1.001", "zstd;q=0.,;,*", "GZIP;Q=1.,gzip;q=0"} {
		f.Add(s, "", uint8(0))
		f.Add("br;q=0.9", s, uint8(5))
	}
	f.Fuzz(func(t *testing.T, a, b string, order uint8) {
		from := coding.Codings()
		for i := range from { // some permutation
			j := i + int(order)%(len(from)-i)
			from[i], from[j] = from[j], from[i]
			order /= 3
		}
		if got, want := chosen(from, a, b), oracle(from, a, b); got != want {
			t.Errorf("%q, %q of %v: %q, want %q", a, b, from, got, want)
		}
	})
}

// TestAcceptEncodingOfAllKinds compares it with the oracle for lists made of parts.
func TestAcceptEncodingOfAllKinds(t *testing.T) {
	parts := []string{"gzip", "br;q=0.5", "zstd;q=0.25", "identity;q=0.4", "*;q=0.3", "*;q=0", "x-gzip;q=0", "br;q=2", "identity;q=0", " ", "zstd ; q=1.0"}
	n := 0
	for i := range parts {
		for j := range parts {
			for k := range parts {
				n++
				list := parts[i] + "," + parts[j]
				if got, want := chosen(coding.Codings(), list, parts[k]), oracle(coding.Codings(), list, parts[k]); got != want {
					t.Errorf("%q: %q, want %q", fmt.Sprint(list, ", ", parts[k]), got, want)
				}
			}
		}
	}
	if n != 1331 {
		t.Errorf("%d lists", n)
	}
}
