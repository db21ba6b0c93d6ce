package upstream

import (
	"testing"
	"time"
	"unsafe"
)

// ofAnotherClock is t as it was read while the clock was so much ahead of what it says
// now: the time of day differs, the monotonic reading does not (see package time).
func ofAnotherClock(tb testing.TB, t time.Time, ahead time.Duration) time.Time {
	tb.Helper()
	other := t
	const secondsBegin = 30 // below are the nanoseconds
	*(*uint64)(unsafe.Pointer(&other)) += uint64(ahead/time.Second) << secondsBegin
	if other.Sub(t) != 0 || other.Round(0).Sub(t.Round(0)) != ahead {
		tb.Fatal("package time keeps its times otherwise")
	}
	return other
}

// TestClockIsSetBack: what was noted while the clock was an hour ahead is as old as it is.
func TestClockIsSetBack(t *testing.T) {
	r := NewRegistry(RegistryOptions{EjectAfter: 3})
	now := time.Now()
	before := func(d time.Duration) time.Time { return ofAnotherClock(t, now.Add(-d), time.Hour) }
	made := func(s State) *Endpoint {
		e := r.Acquire(Target{Address: "192.0.2.1:" + s.String()})
		SetState(e, s)
		return e
	}

	e := made(Ready)
	e.since.Set(before(20 * time.Second))
	if w := (&Member{Endpoint: e, Weight: 1}).warmth(now); w != 1 {
		t.Errorf("an instance that is ready for longer than the slow start has a warmth of %v", w)
	}
	e.latency.observe(before(time.Minute), 100*time.Millisecond)
	if l := e.latency.value(now); l > 100*time.Millisecond>>10 {
		t.Errorf("what was measured a minute ago still counts: %v", l)
	}

	e = made(Ejected)
	e.outlier.begin(before(20*time.Second), 10*time.Second)
	if rest, ok := e.ejectedFor(); ok {
		t.Errorf("an ejection that is over lasts another %v", rest)
	}
	SetState(e, Probing)
	if s, _ := e.reached(e.phase(), now); s != Ready {
		t.Errorf("reached after its ejection it is %v", s)
	}

	o := &made(Leaving).outlier
	for range fewAnswers {
		o.tooManyErrors(before(2*outlierWindow), 500, 0.9)
	}
	if o.tooManyErrors(now, 500, 0.9) {
		t.Error("the errors of the last window count in this one")
	}

	r.noRoom.Set(before(time.Second))
	if r.makeRoom(); r.noRoom.Time().Before(now) {
		t.Error("nobody looks for idle connections any more")
	}
}
