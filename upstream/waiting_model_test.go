package upstream

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestWaitingSharesModel has requests of any size that join and leave the rooms of
// several namespaces in any order. The limit is never exceeded, a request within its
// room's share is never refused, and a room within its share loses no request.
func TestWaitingSharesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := int64(rapid.IntRange(50, 2000).Draw(t, "limit"))
		registry := &Registry{}
		pot := &registry.line.bytes
		var rooms []*Room
		for i := range rapid.IntRange(1, 6).Draw(t, "rooms") {
			namespace := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, fmt.Sprintf("namespace of %d", i)))
			rooms = append(rooms, &Room{registry: registry, namespace: namespace})
		}
		held := func(r *Room) (n int64) {
			for _, w := range r.waiters {
				n += w.Holds
			}
			return n
		}
		// share is the room's share, with r among those that hold something.
		share := func(of, r *Room) int64 {
			namespaces, siblings := map[string]bool{}, int64(0)
			for _, other := range rooms {
				if other != r && held(other) == 0 {
					continue
				}
				namespaces[other.namespace] = true
				if other.namespace == of.namespace {
					siblings++
				}
			}
			return limit / int64(len(namespaces)) / siblings
		}
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				r := rapid.SampledFrom(rooms).Draw(t, "room")
				n := int64(rapid.SampledFrom([]int{1, 2, 5, 10, 50, 100}).Draw(t, "bytes"))
				before, shares := map[*Room]int64{}, map[*Room]int64{}
				for _, other := range rooms {
					if before[other] = held(other); before[other] > 0 || other == r {
						shares[other] = share(other, r)
					}
				}
				if !pot.take(r, n, limit) {
					if before[r]+n <= shares[r] {
						t.Fatalf("%d bytes were refused to a room that has %d of its share of %d", n, before[r], shares[r])
					}
					return
				}
				for _, other := range rooms {
					if held(other) < before[other] && before[other] <= shares[other] {
						t.Fatalf("a room lost requests that has %d of its share of %d", before[other], shares[other])
					}
				}
				r.waiters = append(r.waiters, &waiter{WaitingRequest: WaitingRequest{Holds: n}, got: make(chan struct{})})
			},
			"leave": func(t *rapid.T) {
				r := rapid.SampledFrom(rooms).Draw(t, "room")
				if len(r.waiters) == 0 {
					t.Skip("nobody waits there")
				}
				r.drop(rapid.SampledFrom(r.waiters).Draw(t, "request"))
			},
			"": func(t *rapid.T) {
				sum := int64(0)
				for _, r := range rooms {
					sum += held(r)
				}
				if pot.held != sum || sum > limit {
					t.Fatalf("%d bytes are held, %d counted, of %d", sum, pot.held, limit)
				}
			},
		})
		for _, r := range rooms {
			for len(r.waiters) > 0 {
				r.drop(r.waiters[0])
			}
		}
		if pot.held != 0 || len(pot.namespaces) != 0 {
			t.Fatalf("left over: %d bytes, %d namespaces", pot.held, len(pot.namespaces))
		}
	})
}
