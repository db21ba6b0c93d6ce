package acme

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestLimit checks a limit with random programs: what is left may be taken and no more,
// what waits may be taken at the given time, and in a window at most the limit and what
// is given back in it.
func TestLimit(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := limit{most: 1 + r.IntN(20), window: time.Duration(1+r.IntN(100)) * time.Minute}
		began := time.Unix(1_700_000_000, 0)
		now, s := began, spent{}
		taken := 0
		for range 300 {
			switch r.IntN(4) {
			case 0:
				now = now.Add(time.Duration(r.Int64N(int64(l.window) / 2)))
			case 1:
				if taken > 0 { // what was not needed after all
					s, taken = l.take(s, -1, now), taken-1
				}
			default:
				n, kept := 1+r.IntN(l.most), r.IntN(l.most)
				if n+kept > l.most {
					kept = l.most - n
				}
				left, at := l.left(s, now), l.at(s, n, kept, now)
				if may := !at.After(now); may != (left >= n+kept) {
					t.Fatalf("seed %d: %d of %+v are left, %d with %d kept may be taken: %v", seed, left, l, n, kept, may)
				}
				if at.After(now.Add(l.window)) {
					t.Fatalf("seed %d: a wait of %v in a window of %v", seed, at.Sub(now), l.window)
				}
				if now = at; l.left(s, now) < n+kept {
					t.Fatalf("seed %d: %d are left when %d should be", seed, l.left(s, now), n+kept)
				}
				s, taken = l.take(s, n, now), taken+n
			}
			if most := l.most + int(now.Sub(began)/l.each()) + 1; taken > most {
				t.Fatalf("seed %d: %d were taken in %v of %+v", seed, taken, now.Sub(began), l)
			}
		}
	}
	none := limit{}
	if now := time.Now(); none.at(spent{}, 1000, 1000, now).After(now) || none.take(spent{}, 5, now) != (spent{}) {
		t.Error("no limit limits")
	}
	if l := (limit{most: 5, window: time.Hour}); l.at(spent{}, 9, 9, time.Unix(0, 0)).After(time.Unix(0, 0)) {
		t.Error("who wants more than there ever is waits for good")
	}
}
