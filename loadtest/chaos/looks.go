package chaos

import (
	"sync"
	"time"
)

// member is an instance as the proxy sees it.
type member struct {
	Service string    `json:"service"`
	Alloc   string    `json:"alloc"` // the instance's name
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
}

// look is what the proxy said of its instances at a moment between two.
type look struct {
	began, ended time.Time
	members      map[string][]member // by service
}

// looks are in the order of time. Zero looks have seen nothing, and nothing is judged
// by them.
type looks struct {
	mu  sync.Mutex
	all []look
}

// watchMembers looks at the instances until over is closed, and once more then.
func (e *episode) watchMembers(over <-chan struct{}) {
	for last := false; ; {
		began := time.Now()
		list, err := e.proxy.members()
		if err == nil && list != nil {
			l := look{began: began, ended: time.Now(), members: make(map[string][]member)}
			for _, m := range list {
				l.members[m.Service] = append(l.members[m.Service], m)
			}
			e.looks.mu.Lock()
			e.looks.all = append(e.looks.all, l)
			e.looks.mu.Unlock()
		}
		if last {
			return
		}
		select {
		case <-over:
			last = true
		case <-time.After(60 * time.Millisecond):
		}
	}
}

// ready returns the names of a service's instances, if all of them were certainly known
// and ready between two moments: a look before and one after have the same instances,
// and each has been ready since before the first moment.
func (l *looks) ready(service string, from, until time.Time) (names []string, sure bool) {
	before, behind := -1, -1
	for i := range l.all {
		if l.all[i].ended.Before(from) {
			before = i
		}
		if behind < 0 && l.all[i].began.After(until) {
			behind = i
		}
	}
	if before < 0 || behind < 0 {
		return nil, false
	}
	first := l.all[before].members[service]
	for _, look := range l.all[before : behind+1] {
		now := look.members[service]
		if len(now) != len(first) {
			return nil, false
		}
		for i, m := range now {
			if m.Alloc != first[i].Alloc || m.State != "ready" || !m.Since.Before(from) {
				return nil, false
			}
		}
	}
	for _, m := range first {
		names = append(names, m.Alloc)
	}
	return names, true
}

// was reports whether one instance was certainly known and ready between two moments,
// whatever the others were.
func (l *looks) was(service, name string, from, until time.Time) bool {
	before := false
	for i := range l.all {
		look := &l.all[i]
		ready := false
		for _, m := range look.members[service] {
			ready = ready || m.Alloc == name && m.State == "ready" && m.Since.Before(from)
		}
		switch {
		case look.ended.Before(from):
			before = ready
		case !ready:
			return false
		}
		if look.began.After(until) {
			return before
		}
	}
	return false
}

// there reports whether an instance took connections until that moment.
func (i *instance) there(until time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gone.IsZero() || i.gone.After(until)
}

// named returns the instance of that name, nil for none.
func (c *cluster) named(name string) *instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.all {
		if i.name == name {
			return i
		}
	}
	return nil
}
