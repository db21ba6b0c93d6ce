package memory_test

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"serai/internal/memory"
)

// TestBudget goes through random takes and gives of a few clients: nobody gets more than
// there is, a client within its share is only refused where less would be left than it has, one
// beyond it only at its part's level, and all that is given back can be taken again.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(64, 1<<20).Draw(t, "limit")
		levels := map[memory.Part]int64{memory.Requests: limit / 16 * 14, memory.Connections: limit / 16 * 13, memory.Streams: limit / 16 * 10, memory.Buffers: limit / 16 * 8}
		b := memory.NewBudget(limit)
		clients := make([]memory.Client, rapid.IntRange(1, 5).Draw(t, "clients"))
		for i := range clients {
			clients[i].Join(b)
		}
		held := make([]int64, len(clients))
		type loan struct {
			client int
			part   memory.Part
			n      int64
		}
		var loans []loan
		sum := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(loans) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(loans)-1).Draw(t, "which")
				l := loans[i]
				clients[l.client].Give(l.part, l.n)
				sum -= l.n
				held[l.client] -= l.n
				loans = append(loans[:i], loans[i+1:]...)
				continue
			}
			l := loan{rapid.IntRange(0, len(clients)-1).Draw(t, "client"), rapid.SampledFrom(slices.Sorted(maps.Keys(levels))).Draw(t, "part"), rapid.Int64Range(1, limit).Draw(t, "n")}
			share, _ := b.Share()
			level := levels[l.part]
			if held[l.client]+l.n <= share {
				level = max(level, limit-held[l.client]-l.n)
			}
			fits := sum+l.n <= level
			if clients[l.client].Take(l.part, l.n) != fits {
				t.Fatalf("%v takes %d of %d, %d are taken, it has %d of %d: %v", l.part, l.n, limit, sum, held[l.client], share, !fits)
			}
			if fits {
				sum += l.n
				held[l.client] += l.n
				loans = append(loans, l)
			}
			share, _ = b.Share()
			for p, level := range levels {
				for i := range clients {
					if want := sum > level/4*3 && held[i]*16 > share*12; clients[i].RunsLow(p) != want {
						t.Fatalf("low for %v at %d of %d, for one with %d of %d: %v", p, sum, level, held[i], share, !want)
					}
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
	var none memory.Client
	none.Join(nil)
	for _, c := range []*memory.Client{nil, &none} {
		if !c.Take(memory.Buffers, 1<<60) || c.RunsLow(memory.Requests) || c.RunsOut(0) {
			t.Error("it has an end")
		}
		c.Give(memory.Buffers, 1<<60)
	}
	none.Leave()
}

// TestSmallClientsFindRoom: whatever the large ones take, together and in whatever
// part, one who has little gets what it asks for.
func TestSmallClientsFindRoom(t *testing.T) {
	for _, p := range memory.Parts() {
		for _, many := range []int{1, 10, 100} {
			const limit = 1 << 20
			b := memory.NewBudget(limit)
			large := make([]memory.Client, many)
			for i := range large {
				large[i].Join(b)
			}
			for took := true; took; {
				took = false
				for i := range large {
					took = large[i].Take(p, 1000) || took
				}
			}
			var small memory.Client
			small.Join(b)
			for _, p := range memory.Parts() {
				if !small.Take(p, 500) {
					t.Errorf("%d took all the %v they could: no %v for another", many, memory.Parts()[p], p)
				}
			}
			if small.RunsLow(p) || small.RunsOut(0) || !large[0].RunsLow(p) {
				t.Errorf("%d took all the %v they could: the wrong one is to make room", many, p)
			}
		}
	}
}

// TestRecall: those beyond their share are asked for what is wanted, and not for more.
func TestRecall(t *testing.T) {
	const limit, piece = 1600, 10
	b := memory.NewBudget(limit)
	var large, small memory.Client
	large.Join(b)
	small.Join(b)
	for large.Take(memory.Requests, piece) {
	}
	recall := func(c *memory.Client, how func(*memory.Client) bool) (bytes int) {
		for how(c) {
			bytes += piece
		}
		return bytes
	}
	stalled := func(c *memory.Client) bool { return c.Recall(piece) }
	all := func(c *memory.Client) bool { return c.RecallAll(piece) }
	if n := recall(&large, stalled) + recall(&large, all); n > 0 {
		t.Errorf("%d recalled for nobody", n)
	}
	for small.Take(memory.Requests, piece) { // until it has as much as is left
	}
	taken, _ := b.Taken(memory.Requests)
	has := taken - limit/16*14
	if has != limit/16 {
		t.Fatalf("the small one has %d", has)
	}
	if n := recall(&small, stalled) + recall(&small, all); n > 0 {
		t.Errorf("%d recalled of the one within its share", n)
	}
	if n := recall(&large, stalled); n != limit/16 {
		t.Errorf("%d recalled, want what the small one has beyond the level", n)
	}
	b.Settle()
	small.Take(memory.Requests, 3*limit/16)
	if n := recall(&large, stalled); n != 3*limit/16 {
		t.Errorf("%d recalled, want what is to be left so that it may be taken", n)
	}
	b.Settle()
	if n := recall(&large, all); n > 0 {
		t.Errorf("%d recalled that are of use", n)
	}
}

// TestBudgetOfMany: what many take and give at the same time is counted.
func TestBudgetOfMany(t *testing.T) {
	b := memory.NewBudget(1000)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10_000 {
				var c memory.Client
				c.Join(b)
				if p := memory.Parts()[i%len(memory.Parts())]; c.Take(p, 100) {
					c.Give(p, 100)
				}
				c.Leave()
			}
		})
	}
	all.Wait()
	for _, p := range memory.Parts() {
		if n, _ := b.Taken(p); n != 0 {
			t.Errorf("%v still has %d", p, n)
		}
	}
	if _, n := b.Share(); n != 0 {
		t.Errorf("there are still %d clients", n)
	}
}
