package main

import (
	"testing"
	"time"
)

// TestPhases shows that steps which are repeated go on with their phases.
func TestPhases(t *testing.T) {
	l := &load{since: time.Now(), during: -1}
	if l.current() != -1 {
		t.Errorf("phase %d is under way before the first", l.current())
	}
	for _, p := range []struct {
		name string
		want int
	}{{"a", 0}, {"b", 1}, {"a", 0}, {"c", 2}} {
		if l.begin(p.name); l.current() != p.want {
			t.Errorf("phase %q is the one at %d, want %d", p.name, l.current(), p.want)
		}
	}
	if len(l.phases) != 3 || len(l.marks) != 4 {
		t.Errorf("%d phases and %d marks, want 3 and 4", len(l.phases), len(l.marks))
	}
}

// TestKept holds the verdict to the promises.
func TestKept(t *testing.T) {
	post, get := map[string]int{"POST 502": 1}, map[string]int{"POST 502": 1, "GET 502": 1}
	for _, c := range []struct {
		r    result
		want bool
	}{
		{result{Strict: true}, true},
		{result{Strict: true, tally: tally{Failed: 1, Failures: post}}, false},
		{result{tally: tally{Failed: 1, Failures: post}}, true},
		{result{Strict: true, OnlyPOST: true, tally: tally{Failed: 1, Failures: post}}, true},
		{result{Strict: true, OnlyPOST: true, tally: tally{Failed: 2, Failures: get}}, false},
		{result{Strict: true, OnlyPOST: true, tally: tally{Failed: 1, Failures: map[string]int{"call UNAVAILABLE upstream-closed": 1}}}, true},
		{result{Strict: true, OnlyPOST: true, tally: tally{Failed: 1, Failures: map[string]int{"call UNAVAILABLE no-instance": 1}}}, false},
		{result{Strict: true, OnlyPOST: true, tally: tally{Failed: 1, Failures: map[string]int{"call UNKNOWN upstream-closed": 1}}}, false},
		{result{Strict: true, OnlyCut: true, tally: tally{Failed: 1, Failures: map[string]int{"call UNAVAILABLE the answer was cut": 1}}}, true},
		{result{Strict: true, OnlyCut: true, tally: tally{Failed: 1, Failures: map[string]int{"call UNAVAILABLE upstream-closed": 1}}}, false},
		{result{Strict: true, Streams: &streamsTally{Ended: map[string]int{"UNAVAILABLE": 1}}}, true},
		{result{Strict: true, OnlyPOST: true, Streams: &streamsTally{Wrong: 1}}, false},
		{result{Strict: true, Streams: &streamsTally{Failed: map[string]int{"UNAVAILABLE": 1}}}, false},
		{result{Streams: &streamsTally{Wrong: 1}}, true},
		{result{Strict: true, WithinMS: 100, tally: tally{LongestMS: 100}}, true},
		{result{Strict: true, WithinMS: 100, tally: tally{LongestMS: 101}}, false},
	} {
		if c.r.kept() != c.want {
			t.Errorf("kept is %v of %+v", c.r.kept(), c.r)
		}
	}
}
