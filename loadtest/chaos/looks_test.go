package chaos

import (
	"testing"
	"time"
)

// TestLooks is sure only of what a look before and one behind agree on.
func TestLooks(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	lookAt := func(ms, since int, state string) look {
		return look{began: at(ms), ended: at(ms + 1), members: map[string][]member{"s1": {{Alloc: "a", State: state, Since: at(since)}}}}
	}
	for name, c := range map[string]struct {
		looks []look
		want  bool
	}{
		"before and behind": {[]look{lookAt(0, -5, "ready"), lookAt(50, -5, "ready"), lookAt(100, -5, "ready")}, true},
		"only before":       {[]look{lookAt(0, -5, "ready"), lookAt(50, -5, "ready")}, false},
		"only behind":       {[]look{lookAt(50, -5, "ready"), lookAt(100, -5, "ready")}, false},
		"away between":      {[]look{lookAt(0, -5, "ready"), lookAt(50, 30, "ejected"), lookAt(100, 60, "ready")}, false},
		"away and back":     {[]look{lookAt(0, -5, "ready"), lookAt(100, 40, "ready")}, false},
		"ready since then":  {[]look{lookAt(0, -5, "probing"), lookAt(100, 8, "ready")}, false},
	} {
		l := &looks{all: c.looks}
		_, all := l.ready("s1", at(10), at(90))
		if one := l.was("s1", "a", at(10), at(90)); all != c.want || one != c.want {
			t.Errorf("%s: %v, and of one %v", name, all, one)
		}
	}
}
