package quota_test

import (
	"testing"

	"pgregory.net/rapid"

	"serai/internal/quota"
)

// TestShare: what holders have, cut off at the share, is half of all; where that is more
// than they have, the share is half of all.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1<<30).Draw(t, "size")
		f := quota.NewFair(size)
		holders := make([]quota.Holder, rapid.IntRange(1, 50).Draw(t, "holders"))
		for i := range holders {
			holders[i].Join(f)
			holders[i].Take(rapid.Int64Range(0, size).Draw(t, "n"), size)
		}
		f.Settle()
		share, cut, most := f.Share(), int64(0), int64(0)
		for i := range holders {
			cut += min(holders[i].Taken(), share)
			most = max(most, holders[i].Taken())
		}
		switch {
		case share == 1 && cut > size/2: // nobody has less
		case cut > size/2:
			t.Fatalf("cut off at %d they have %d of %d", share, cut, size)
		case share == size/2 && most <= share:
		case cut < size/2-int64(len(holders)):
			t.Fatalf("cut off at %d they have only %d of %d", share, cut, size)
		}
	})
}

// TestMoreThanThereIs: where more hold one than there is, one who holds nothing may still have one.
func TestMoreThanThereIs(t *testing.T) {
	f := quota.NewFair(16)
	for range 12 {
		h := new(quota.Holder)
		h.Join(f)
		h.Take(1, 16)
	}
	f.Settle()
	var next quota.Holder
	next.Join(f)
	if !next.Take(1, 0) || !next.Within() || next.Take(1, 0) {
		t.Errorf("the share is %d", f.Share())
	}
}

// TestSmallShare: a share of less than sixteen is not rounded to nothing: who holds less is not to make
// room. Where nobody has a share, everybody is.
func TestSmallShare(t *testing.T) {
	for _, c := range []struct {
		many        int
		each, share int64
		little      bool // whether who holds one is to make room
	}{{100, 9, 4, false}, {400, 2, 1, false}, {700, 1, 1, true}} {
		f := quota.NewFair(1000)
		holders := make([]quota.Holder, c.many+1)
		for i := range holders {
			holders[i].Join(f)
			n := c.each
			if i == c.many {
				n = 1
			}
			if !holders[i].Take(n, 1000) {
				t.Fatalf("%d of %d: no room", i, c.many)
			}
		}
		f.Settle()
		if f.Share() != c.share {
			t.Errorf("%d with %d each: the share is %d", c.many, c.each, f.Share())
		}
		if much, little := holders[0].Beyond(16), holders[c.many].Beyond(16); !much || little != c.little {
			t.Errorf("%d with %d each are beyond %d: %v; one with 1: %v", c.many, c.each, f.Share(), much, little)
		}
	}
}

// TestManyWithNextToNothing: they make no share smaller for those who need one.
func TestManyWithNextToNothing(t *testing.T) {
	f := quota.NewFair(1_000_000)
	idle := make([]quota.Holder, 10_000)
	for i := range idle {
		idle[i].Join(f)
		idle[i].Take(6, 900_000)
	}
	var large, usual, small quota.Holder
	for _, h := range []*quota.Holder{&large, &usual, &small} {
		h.Join(f)
	}
	usual.Take(20_000, 900_000)
	for large.Take(1000, 900_000) {
	}
	if !large.Beyond(16) || usual.Beyond(16) || idle[0].Beyond(16) {
		t.Errorf("the share is %d", f.Share())
	}
	if !usual.Take(20_000, 0) || !small.Take(20_000, 0) {
		t.Error("there is no room for those who have little")
	}
	if large.Take(1, 900_000) {
		t.Error("the large one takes what is left for others")
	}
}
