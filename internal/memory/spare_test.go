package memory_test

import (
	"testing"

	"pgregory.net/rapid"

	"serai/internal/memory"
)

// TestSpare: one that takes all it can leaves half, and who comes later gets some of it,
// until many are there.
func TestSpare(t *testing.T) {
	s := memory.NewSpare(memory.Encoders, 160)
	clients := make([]memory.Client, 5)
	var got []int
	for i := range clients {
		n := 0
		for s.Take(&clients[i], 10, s.Limit()) {
			n++
		}
		got = append(got, n)
	}
	if want := [...]int{8, 4, 2, 1, 0}; [5]int(got) != want {
		t.Errorf("they got %v, want %v", got, want)
	}
	s.Give(&clients[0], 40)
	if !s.Take(&clients[4], 10, s.Limit()) {
		t.Error("what was given back is for nobody")
	}
	if s.Take(nil, 10, s.Taken()) {
		t.Error("it goes beyond a limit")
	}
}

// TestSpareOfBudget: it is taken of the Budget up to its level, makes nobody hold more
// than a share, and no room is made for it.
func TestSpareOfBudget(t *testing.T) {
	b := memory.NewBudget(1600)
	var greedy, other memory.Client
	greedy.Join(b)
	other.Join(b)
	s := memory.NewSpare(memory.Encoders, 10_000)
	n := int64(0)
	for s.Take(&greedy, 10, s.Limit()) {
		n += 10
	}
	if taken, refused := b.Taken(memory.Encoders); n != 1100 || taken != 1100 || refused != 1 {
		t.Errorf("%d taken, counted as %d, refused %d times; want 1100, 1100, 1", n, taken, refused)
	}
	if requests, _ := b.Taken(memory.Requests); requests != 0 {
		t.Errorf("%d count as taken for requests", requests)
	}
	select {
	case <-b.Scarce():
		t.Error("room is to be made for it")
	default:
	}
	if !other.Take(memory.Requests, 300) || greedy.RunsOut(0) {
		t.Error("it is held against its client, or against another one")
	}
	s.Give(&greedy, n)
	if taken, _ := b.Taken(memory.Encoders); taken != 0 || s.Taken() != 0 {
		t.Errorf("%d and %d are taken at the end", taken, s.Taken())
	}
}

// TestSpareIsNeverExceeded: whatever is taken and given back, no limit is exceeded, and
// nobody who has something gets more than is left.
func TestSpareIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, limit := rapid.Int64Range(16, 4000).Draw(t, "pot"), rapid.Int64Range(1, 4000).Draw(t, "limit")
		b := memory.NewBudget(size)
		s := memory.NewSpare(memory.Encoders, limit)
		clients := make([]memory.Client, 3)
		has := make([]int64, len(clients))
		for i := range clients {
			clients[i].Join(b)
		}
		sum := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i, n := rapid.IntRange(0, 2).Draw(t, "client"), rapid.Int64Range(1, 500).Draw(t, "n")
			if rapid.Bool().Draw(t, "gives") {
				s.Give(&clients[i], has[i])
				sum, has[i] = sum-has[i], 0
				continue
			}
			fits := sum+n+has[i]+n <= limit && sum+n <= size/16*11
			if got := s.Take(&clients[i], n, limit); got != fits {
				t.Fatalf("%d more for one who has %d, of %d taken: %v", n, has[i], sum, got)
			}
			if fits {
				sum, has[i] = sum+n, has[i]+n
			}
			if taken, _ := b.Taken(memory.Encoders); s.Taken() != sum || taken != sum {
				t.Fatalf("%d and %d are taken, want %d", s.Taken(), taken, sum)
			}
		}
	})
}
