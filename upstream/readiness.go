package upstream

import (
	"fmt"
	"strings"
	"time"
)

// shownMembers bounds the members that Readiness lists.
const shownMembers = 8

// Readiness describes how many instances of the room's current pool take requests, and
// why the others do not: "0 of 2 ready: 10.0.0.3:23841 connection refused since
// 10:02:11; ...".
func (r *Room) Readiness() string {
	p := r.pool.Load()
	if p == nil || len(p.members) == 0 {
		return "no instance is registered"
	}
	ready, more := 0, 0
	var why []string
	for _, m := range p.members {
		obstacle := m.obstacle()
		switch {
		case obstacle == "":
			ready++
		case len(why) < shownMembers:
			why = append(why, m.Endpoint.target.Address+" "+obstacle)
		default:
			more++
		}
	}
	if more > 0 {
		why = append(why, fmt.Sprintf("%d more", more))
	}
	text := fmt.Sprintf("%d of %d ready", ready, len(p.members))
	if len(why) > 0 {
		text += ": " + strings.Join(why, "; ")
	}
	return text
}

// obstacle says why m takes no request now, empty when it does.
func (m *Member) obstacle() string {
	s := m.Endpoint.Status()
	switch {
	case m.Unfit != "":
		return "is " + m.Unfit
	case m.Weight <= 0:
		return "has weight 0"
	case s.State == Ready && m.MaxInflight > 0 && s.Inflight >= m.MaxInflight:
		return fmt.Sprintf("has max-inflight=%d requests", m.MaxInflight)
	case s.State == Ready:
		return ""
	case s.State == Leaving:
		return "is gone"
	case s.Cause == "":
		return "was not reached yet"
	}
	cause := shortCause(s.Cause, s.Target.Address)
	if s.State == Ejected {
		cause = "is ejected: " + cause
	}
	return cause + " since " + clock(s.Since, time.Now())
}

// shortCause removes from a cause what the reader already knows.
func shortCause(cause, address string) string {
	cause = strings.TrimPrefix(cause, ErrConnect.Error()+": ")
	cause = strings.TrimPrefix(cause, "dial tcp "+address+": ")
	cause = strings.TrimPrefix(cause, "connect: ")
	return strings.ReplaceAll(cause, "http://"+address, "")
}

// clock returns the time of day, with the date when it is another day.
func clock(t, now time.Time) string {
	if now.Sub(t) < 12*time.Hour {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
