package memory_test

import (
	"sync"
	"testing"

	"pgregory.net/rapid"

	"serai/internal/memory"
)

// TestBudget goes through random takes and gives: no part goes beyond its level, a
// part is only refused at its level, and all that is given back can be taken again.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(8, 1<<20).Draw(t, "limit")
		levels := map[memory.Part]int64{memory.Requests: limit, memory.Connections: limit / 8 * 7, memory.Streams: limit / 8 * 5, memory.Buffers: limit / 2}
		b := memory.NewBudget(limit)
		type loan struct {
			part memory.Part
			n    int64
		}
		var loans []loan
		sum := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(loans) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(loans)-1).Draw(t, "which")
				b.Give(loans[i].part, loans[i].n)
				sum -= loans[i].n
				loans = append(loans[:i], loans[i+1:]...)
				continue
			}
			p := rapid.SampledFrom(memory.Parts()).Draw(t, "part")
			n := rapid.Int64Range(1, limit).Draw(t, "n")
			fits := sum+n <= levels[p]
			if b.Take(p, n) != fits {
				t.Fatalf("%v takes %d of %d, %d are taken: %v", p, n, limit, sum, !fits)
			}
			if fits {
				sum += n
				loans = append(loans, loan{p, n})
			}
			for p, level := range levels {
				if b.RunsLow(p) != (sum > level/4*3) {
					t.Fatalf("low for %v at %d of %d: %v", p, sum, level, b.RunsLow(p))
				}
			}
		}
		var all int64
		for _, p := range memory.Parts() {
			n, _ := b.Taken(p)
			all += n
		}
		if all != sum {
			t.Fatalf("the parts have %d of %d", all, sum)
		}
	})
}

// TestNoBudget takes whatever is asked for.
func TestNoBudget(t *testing.T) {
	var b *memory.Budget
	if !b.Take(memory.Buffers, 1<<60) || b.RunsLow(memory.Requests) {
		t.Error("it has an end")
	}
	b.Give(memory.Buffers, 1<<60)
}

// TestBudgetOfMany: what many take and give at the same time is counted.
func TestBudgetOfMany(t *testing.T) {
	b := memory.NewBudget(1000)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10_000 {
				p := memory.Parts()[i%len(memory.Parts())]
				if b.Take(p, 100) {
					b.Give(p, 100)
				}
			}
		})
	}
	all.Wait()
	for _, p := range memory.Parts() {
		if n, _ := b.Taken(p); n != 0 {
			t.Errorf("%v still has %d", p, n)
		}
	}
}
