package chaos

import (
	"math/rand/v2"
	"time"
)

// dice draws. Everything that is drawn follows from the seed.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x5e4a1))} }

// chance is true in so many of a hundred cases.
func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// within draws from low to high, both included.
func (d dice) within(low, high int) int { return low + d.IntN(high-low+1) }

// milliseconds draws from low to high.
func (d dice) milliseconds(low, high int) time.Duration {
	return time.Duration(d.within(low, high)) * time.Millisecond
}

// one draws an element.
func one[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

// size draws a size of a body: often small, often beside the size of a buffer,
// seldom up to largest.
func (d dice) size(largest int) int {
	n := 0
	switch k := d.IntN(100); {
	case k < 15:
		n = 0
	case k < 45:
		n = d.within(1, 300)
	case k < 60:
		n = d.within(300, 20_000)
	default:
		near := one(d, 2<<10, 2<<10, 4<<10, 8<<10, 8<<10, 16<<10, 64<<10, 64<<10, 256<<10, 1<<20)
		n = near + d.within(-1, 1)
		if d.chance(20) {
			n *= d.within(1, 3)
		}
	}
	return min(n, largest)
}

// chunk draws how large the chunks of a body of that size are; there are never
// too many of them.
func (d dice) chunk(size int) int {
	return max(one(d, 1, 2, 7, 100, 1000, 4096, 65536, size), size/200, 1)
}
