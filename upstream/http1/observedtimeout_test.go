package http1

import (
	"testing"
	"time"
)

// TestObservedTimeout reports closes of idle connections, those of one sweep together,
// and checks what is learned from them.
func TestObservedTimeout(t *testing.T) {
	start := time.Now()
	// at is a close of a connection of that age, so long after the start.
	at := func(after, age time.Duration) closing { return closing{age, start.Add(after)} }
	type sweep []closing
	const s, ms = time.Second, time.Millisecond
	for name, c := range map[string]struct {
		sweeps []sweep
		want   time.Duration
	}{
		"one close":                        {[]sweep{{at(5*s, 2*s)}}, 0},
		"two that agree":                   {[]sweep{{at(5*s, 2*s)}, {at(9*s, 2*s+50*ms)}}, 2 * s},
		"two that do not":                  {[]sweep{{at(5*s, 2*s)}, {at(9*s, 3*s)}}, 0},
		"two of one event":                 {[]sweep{{at(5*s, 2*s), at(5*s+ms, 2*s)}}, 0},
		"two of one event, one by one":     {[]sweep{{at(5*s, 2*s)}, {at(5*s+ms, 2*s)}}, 0},
		"a reload":                         {[]sweep{{at(5*s, 3*s), at(5*s, 2*s), at(5*s, 1*s)}}, 0},
		"two reloads":                      {[]sweep{{at(5*s, 3*s), at(5*s, 2*s), at(5*s, 1*s)}, {at(9*s, 3*s), at(9*s, 2*s)}}, 0},
		"a timeout through one sweep":      {[]sweep{{at(5*s, 2*s), at(5*s+300*ms, 2*s)}}, 2 * s},
		"right after the answer":           {[]sweep{{at(5*s, 10*ms)}, {at(6*s, 10*ms)}}, 0},
		"others between":                   {[]sweep{{at(5*s, 2*s)}, {at(6*s, 20*ms)}, {at(7*s, 2*s)}}, 2 * s},
		"the shortest of those that agree": {[]sweep{{at(5*s, 2*s)}, {at(7*s, 1900*ms)}, {at(9*s, 2*s)}}, 1900 * ms},
		"another configuration":            {[]sweep{{at(5*s, 3*s)}, {at(9*s, 3*s)}, {at(12*s, 1*s)}, {at(14*s, 1*s)}}, 1 * s},
	} {
		t.Run(name, func(t *testing.T) {
			var l observedTimeout
			for _, closed := range c.sweeps {
				l.learn(closed[len(closed)-1].at, closed)
			}
			if l.after != c.want {
				t.Errorf("learned %v, want %v", l.after, c.want)
			}
		})
	}
	l := observedTimeout{after: 2 * s, seen: start}
	if !l.holds(start.Add(forgetAfter-s)) || l.holds(start.Add(forgetAfter+s)) {
		t.Errorf("what nothing confirms does not hold for %v", forgetAfter)
	}
	if l.refuted(2100*ms) || !l.refuted(3*s) {
		t.Errorf("what refutes an observed timeout is not an older connection that is open")
	}
}
