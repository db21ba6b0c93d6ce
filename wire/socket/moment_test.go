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
