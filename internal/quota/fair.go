package quota

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Fair is a limited number that several holders take of, none of whom is to keep
// the others from it. One has its share: the height at which all holders, each cut
// off there, would have half of the number. So those who hold little leave theirs to
// those who need more, and many who hold next to nothing make no share smaller.
//
// Who is beyond its share stops at a limit below the number. Who is within it goes on
// as long as there is still as much left as it has: so something is always left for one
// who has nothing.
//
// Nobody loses what it has. That those beyond their share give something back, so that
// others come to theirs, is the caller's to see to: see Holder.Beyond.
type Fair struct {
	size  int64
	taken Quota
	share atomic.Int64 // 0 where more hold one than half of all
	again atomic.Int64 // how much is taken when the share is to be found anew

	mu      sync.Mutex
	holders map[*Holder]struct{}
	heights []int64 // scratch
}

// NewFair makes a Fair of so many.
func NewFair(size int64) *Fair {
	f := &Fair{size: size, holders: make(map[*Holder]struct{})}
	f.share.Store(size / 2)
	f.again.Store(size / 2)
	return f
}

// Size returns how many there are, Taken how many of them are taken, Share how many
// a holder has without question, which is at least one, however many share.
func (f *Fair) Size() int64  { return f.size }
func (f *Fair) Taken() int64 { return f.taken.Taken() }
func (f *Fair) Share() int64 { return max(1, f.share.Load()) }

// Holders returns how many have joined.
func (f *Fair) Holders() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holders)
}

// Take takes n for no holder, where no more than limit are taken by all then. What was
// taken is given back once, with Give.
func (f *Fair) Take(n, limit int64) bool { return f.taken.Take(n, limit) }

// Give gives n of no holder back.
func (f *Fair) Give(n int64) { f.taken.Give(n) }

// Settle finds the share anew. It is found as well whenever a sixteenth more is taken
// than the last time; what is given back is noticed only here.
func (f *Fair) Settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
}

// settle finds the share. f.mu is held.
func (f *Fair) settle() {
	f.again.Store(max(f.taken.Taken()+f.size/16, f.size/2))
	f.heights = f.heights[:0]
	for h := range f.holders {
		f.heights = append(f.heights, h.taken.Load())
	}
	slices.Sort(f.heights)
	f.share.Store(height(f.heights, f.size/2))
}

// height returns where heights, which are sorted, have to be cut off so that they
// have a sum of no more than most, and at most that.
func height(heights []int64, most int64) int64 {
	left := most
	for i, h := range heights {
		if n := int64(len(heights) - i); h > left/n {
			return left / n
		}
		left -= h
	}
	return most
}

// Holder takes of one Fair. Its zero value takes of none, and must join one.
// Its methods may be called at the same time, but for Join and Leave.
type Holder struct {
	fair  *Fair
	taken atomic.Int64
}

// Join makes h one of f's holders, until Leave.
func (h *Holder) Join(f *Fair) {
	h.fair = f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holders[h] = struct{}{}
}

// Leave is called when h takes nothing any more.
func (h *Holder) Leave() {
	h.fair.mu.Lock()
	defer h.fair.mu.Unlock()
	delete(h.fair.holders, h)
}

// Take takes n where no more than limit are taken by all then, or where h is within
// its share and no more than is left, and reports whether it did. What was taken is given
// back once, with Give.
func (h *Holder) Take(n, limit int64) bool {
	f := h.fair
	// It counts from here on: two that take at once do not both fit.
	if has := h.taken.Add(n); has <= f.Share() {
		limit = max(limit, f.size-has)
	}
	if !f.taken.Take(n, limit) {
		h.taken.Add(-n)
		return false
	}
	if f.taken.Taken() > f.again.Load() && f.mu.TryLock() {
		f.settle()
		f.mu.Unlock()
	}
	return true
}

// Give gives n back.
func (h *Holder) Give(n int64) {
	h.taken.Add(-n)
	h.fair.taken.Give(n)
}

// Taken returns how much h holds.
func (h *Holder) Taken() int64 { return h.taken.Load() }

// Within reports whether h holds no more than its share.
func (h *Holder) Within() bool { return h.taken.Load() <= h.fair.Share() }

// Beyond reports whether h holds more than so many sixteenths of its share: it is to
// make room when there is little left. Where more hold one than half of all, everybody is.
func (h *Holder) Beyond(sixteenths int64) bool {
	return h.taken.Load()*16 > h.fair.share.Load()*sixteenths
}
