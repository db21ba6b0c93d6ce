package socket

import (
	"strings"
	"testing"
	"time"
)

func TestMomentKeepsToTheMonotonicClock(t *testing.T) {
	var m Moment
	if !m.Time().IsZero() {
		t.Errorf("%v is not zero", m.Time())
	}
	now := time.Now()
	m.Set(now)
	if got := m.Time(); !got.Equal(now) || !strings.Contains(got.String(), " m=") {
		t.Errorf("%v became %v", now, got)
	}
	m.Clear()
	if !m.Time().IsZero() {
		t.Errorf("%v is not zero", m.Time())
	}
}

func TestAgain(t *testing.T) {
	var m Moment
	now := time.Now()
	for i, c := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {0, false}, {time.Second, false}, {time.Second + 1, true}, {2 * time.Second, false}, {time.Hour, true}} {
		if m.Again(now.Add(c.at), time.Second) != c.want {
			t.Errorf("step %d, after %v: %v", i, c.at, !c.want)
		}
	}
}
