package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// result is what one scenario showed.
type result struct {
	Scenario string `json:"scenario"`
	tally
	// Clients are the kinds of clients, where there are several.
	Clients []phase `json:"clients,omitempty"`
	// Again is how many calls grpc-go sent again by itself, because it knew that no
	// server had begun them. Another client would have seen them fail.
	Again   int64         `json:"sent_again_by_client,omitempty"`
	Streams *streamsTally `json:"streams,omitempty"`
	Phases  []phase       `json:"phases,omitempty"`
	Marks   []mark        `json:"marks,omitempty"`
	parts   []tally
	// Strict promises no failure at all. OnlyPOST allows failures of requests that
	// nobody may repeat, OnlyCut cut answers that had begun. WithinMS is how long a
	// request may take, 0 without a promise.
	Strict   bool  `json:"strict"`
	OnlyPOST bool  `json:"only_post,omitempty"`
	OnlyCut  bool  `json:"only_cut,omitempty"`
	WithinMS int64 `json:"within_ms,omitempty"`
}

// kept reports whether the promise was kept.
func (r *result) kept() bool {
	if r.WithinMS > 0 && r.LongestMS > r.WithinMS {
		return false
	}
	if r.Strict && r.Streams != nil && !r.Streams.kept() {
		return false
	}
	for f := range r.Failures {
		switch {
		case r.OnlyPOST && mayHaveBeenRead(f), (r.OnlyPOST || r.OnlyCut) && isCut(f):
		case r.Strict:
			return false
		}
	}
	return true
}

// mayHaveBeenRead reports whether a failed request could not be repeated, because its
// instance may have read it before it ended.
func mayHaveBeenRead(failure string) bool {
	return strings.HasPrefix(failure, "POST ") || failure == "call UNAVAILABLE upstream-closed" || failure == "call UNAVAILABLE upstream-lost"
}

// isCut reports whether a failure is an answer that had begun. A gRPC call gets a
// status, but grpc-go does not read it after half a message.
func isCut(failure string) bool {
	return failure == "call UNAVAILABLE the answer was cut" || failure == "call INTERNAL unexpected EOF" || strings.Contains(failure, " error in the body: ")
}

func (t *tally) String() string {
	return fmt.Sprintf("%7d requests %5d failed  longest %5d ms  %s", t.Requests, t.Failed, t.LongestMS, inWords(t.Failures))
}

// inWords tells how often each came, the most frequent first.
func inWords(counts map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d x %s", counts[k], k)
	}
	return strings.Join(kinds, "; ")
}

func (r *result) String() string { return fmt.Sprintf("%-52s %s", r.Scenario, r.tally.String()) }

func (p *phase) String() string { return fmt.Sprintf("%-50s %s", p.Name, p.tally.String()) }

// details are the lines below the result's own.
func (r *result) details() (lines []string) {
	for _, p := range slices.Concat(r.Clients, r.Phases) {
		lines = append(lines, p.String())
	}
	if r.Again > 0 {
		lines = append(lines, fmt.Sprintf("%d calls were sent again by the client itself", r.Again))
	}
	if r.Streams != nil {
		lines = append(lines, r.Streams.String())
	}
	return lines
}
