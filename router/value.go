package router

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eachElement calls parse with the elements of a comma-separated list until
// one has a flaw.
func eachElement(value, what string, parse func(string) *flaw) *flaw {
	return eachOf(value, what, maxList, parse)
}

// eachOf is eachElement for a list of at most that many.
func eachOf(value, what string, most int, parse func(string) *flaw) *flaw {
	n := 0
	for element := range strings.SplitSeq(value, ",") {
		if element = trim(element); element == "" {
			return &flaw{fmt.Sprintf("the list has an empty %s", what), ""}
		}
		if n++; n > most {
			return &flaw{fmt.Sprintf("the list has more than %d elements", most), "several routes with shorter lists"}
		}
		if f := parse(element); f != nil {
			return f
		}
	}
	return nil
}

// appendNew appends s unless list contains it.
func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// number reads a decimal integer within bounds.
func number(value string, low, high int) (int, *flaw) {
	n, err := strconv.Atoi(value)
	if err != nil || strings.HasPrefix(value, "+") {
		return 0, &flaw{fmt.Sprintf("%s is not a whole number", quote(value)), fmt.Sprintf("a number from %d to %d", low, high)}
	}
	if n < low || n > high {
		return 0, &flaw{fmt.Sprintf("%d is out of range", n), fmt.Sprintf("a number from %d to %d", low, high)}
	}
	return n, nil
}

// duration reads a duration within bounds.
func duration(value string, low, high time.Duration) (time.Duration, *flaw) {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil && strings.Trim(value, "0123456789") == "":
		return 0, &flaw{fmt.Sprintf("duration %s has no unit", quote(value)), printable(value) + "s"}
	case err != nil:
		return 0, &flaw{fmt.Sprintf("%s is not a duration", quote(value)), "a number and a unit, such as 500ms, 10s or 2m"}
	case d < low || d > high:
		return 0, &flaw{fmt.Sprintf("duration %s is out of range", quote(value)), fmt.Sprintf("%s to %s", low, high)}
	}
	return d, nil
}

// longest bounds every duration of the grammar.
const longest = 24 * time.Hour

// size reads a number of bytes: 1048576, 512k, 10M, 1GiB. All units are powers
// of 1024, as nginx reads them.
func size(value string) (int64, *flaw) {
	digits := strings.TrimRight(value, "kKmMgGtTiIbB")
	unit := strings.ToLower(value[len(digits):])
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40}[unit]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err != nil || !ok:
		return 0, &flaw{fmt.Sprintf("%s is not a size", quote(value)), "a number of bytes, such as 1048576, 512k or 10M"}
	case n == 0:
		return 0, &flaw{"a size of 0 would refuse every body", "a larger size, or none for no limit"}
	case n > math.MaxInt64>>shift:
		return 0, &flaw{fmt.Sprintf("size %s is out of range", quote(value)), "a smaller size, or none for no limit"}
	}
	return int64(n) << shift, nil
}

// durationWord writes 1m instead of time.Duration's 1m0s.
func durationWord(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeWord writes bytes in the largest unit that divides them.
func sizeWord(n int64) string {
	unit := 0
	for ; n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + [...]string{"", "k", "M", "G", "T"}[unit]
}

// wordList maps the words of a value to its few possible values, in both directions.
type wordList[T comparable] []struct {
	word  string
	value T
}

// parse returns the value of a word.
func (l wordList[T]) parse(word string) (T, *flaw) {
	var all []string
	for _, w := range l {
		if w.word == word {
			return w.value, nil
		}
		all = append(all, w.word)
	}
	slices.Sort(all)
	var none T
	return none, &flaw{fmt.Sprintf("%s is not allowed here", quote(word)), "one of: " + strings.Join(all, ", ")}
}

// word returns the word for a value, empty when there is none.
func (l wordList[T]) word(value T) string {
	for _, w := range l {
		if w.value == value {
			return w.word
		}
	}
	return ""
}
