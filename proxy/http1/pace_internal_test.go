package http1

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPaceModel plays clients that send and pause in any pattern. None is waited
// for longer than the idle time and what its bytes are worth at the least rate;
// and one that makes up for each pause at once is never late by more than the
// longest.
func TestPaceModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const rate = 100
		idle := time.Duration(rapid.IntRange(1, 60).Draw(t, "idle")) * time.Second
		var p pace
		var waited, longest time.Duration
		sent, honest := 0, true
		for range rapid.IntRange(1, 100).Draw(t, "pieces") {
			wait := time.Duration(rapid.IntRange(0, 20_000).Draw(t, "wait")) * time.Millisecond
			n := rapid.SampledFrom([]int{0, 1, 50, 5000, 1 << 20}).Draw(t, "bytes")
			honest = honest && float64(n) >= rate*wait.Seconds()
			p.waited(wait, n, rate)
			waited, longest, sent = waited+wait, max(longest, wait), sent+n
			if p.late >= idle {
				break
			}
			earned := time.Duration(sent) * time.Second / rate
			if waited >= idle+earned {
				t.Fatalf("waited %v for %d bytes, late by %v", waited, sent, p.late)
			}
		}
		if honest && p.late > time.Second {
			t.Fatalf("late by %v, though every pause was made up for", p.late)
		}
	})
}
