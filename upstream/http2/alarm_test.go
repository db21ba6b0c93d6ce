package http2

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAlarm: who waits is woken at its own time, whatever the timer was set to for
// waits before.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		news := make(chan struct{}, 1)
		a := newAlarm(news)
		now := time.Now()
		if a.begin(now) {
			t.Error("a time that has come is waited for")
		}
		for _, c := range []struct{ ends, within time.Duration }{
			{time.Second, time.Minute}, {time.Second, time.Minute}, {0, 10 * time.Second}, {time.Second, time.Hour}, {0, 2 * time.Second},
			{30 * time.Second, time.Minute}, {0, 90 * time.Second},
		} {
			began := time.Now()
			if !a.begin(began.Add(c.within)) {
				t.Fatal("no wait")
			}
			if c.ends > 0 {
				time.Sleep(c.ends)
				select {
				case <-news:
					t.Errorf("woken within %v of %v", c.ends, c.within)
				default:
				}
			} else {
				<-news
				if took := time.Since(began); took != c.within {
					t.Errorf("woken after %v, not %v", took, c.within)
				}
			}
			a.end()
			a.rest(time.Now())
		}
	})
}
