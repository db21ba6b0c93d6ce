package admin

import (
	"net/http"
	"time"
	"weak"

	"serai/internal/pace"
	"serai/router"
	"serai/upstream"
)

// Status is the answer of /api/v1/status.
type Status struct {
	Version string `json:"version"`
	// Name identifies this serai among others: the name of its host.
	Name    string    `json:"name,omitempty"`
	Started time.Time `json:"started"`
	// Readiness is the answer of /ready.
	Readiness Readiness `json:"readiness"`
	// Traffic is the last sample of /api/v1/traffic.
	Traffic Sample `json:"traffic"`
	Counts  Counts `json:"counts"`
	// Instances counts instances by state.
	Instances map[string]int `json:"instances"`
	// Listeners are the traffic listeners by name.
	Listeners map[string]ListenerStatus `json:"listeners"`
	// Certificates is absent when there are none.
	Certificates *CertificateSummary `json:"certificates,omitempty"`
	Events       EventCounts         `json:"events"`
}

// Counts are the sizes of lists.
type Counts struct {
	Routes     int `json:"routes"`
	Lingering  int `json:"lingering"` // routes that wait for their next instance
	Hosts      int `json:"hosts"`
	Rejections int `json:"rejections"`
}

// ListenerStatus describes one traffic listener.
type ListenerStatus struct {
	Connections int    `json:"connections"`
	Accepted    uint64 `json:"accepted"`
	Refused     uint64 `json:"refused"`
}

// CertificateSummary is what matters of all certificates.
type CertificateSummary struct {
	Count int `json:"count"`
	// First is when the first of those that matter expires: they answer a name, and if
	// serai obtained them, a route has their host.
	First time.Time `json:"first_expiry,omitzero"`
	// Leading says that this serai orders certificates; Missing are hosts that want one
	// and have none, Failing those whose last order failed. All are absent when none are
	// obtained.
	Leading *bool `json:"leading,omitempty"`
	Missing *int  `json:"missing,omitempty"`
	Failing *int  `json:"failing,omitempty"`
}

// EventCounts says how many decisions are remembered.
type EventCounts struct {
	Kept      int    `json:"kept"`
	Limit     int    `json:"limit"`
	Forgotten uint64 `json:"forgotten"`
}

func (a *Admin) apiStatus() query {
	return query{answer: func(*http.Request, values) (any, error) { return a.status(), nil }}
}

// status describes everything in brief.
func (a *Admin) status() Status {
	s := Status{
		Version: a.options.Version, Name: a.options.Name, Started: a.metrics.started.UTC().Truncate(time.Second), Readiness: a.readiness(), Traffic: a.pulse.now(),
		Instances: make(map[string]int), Listeners: make(map[string]ListenerStatus), Certificates: a.certificateSummary(),
	}
	s.Counts = a.counted()
	for state, n := range a.options.Registry.States() {
		s.Instances[upstream.State(state).String()] = n
	}
	for _, l := range a.options.Listeners {
		of := l.Status()
		s.Listeners[l.Name] = ListenerStatus{of.Conns, of.Accepted, of.Refused}
	}
	if ring := a.options.History; ring != nil {
		of := ring.Status()
		s.Events = EventCounts{of.Kept, of.Size, of.Forgotten}
	}
	return s
}

// tableCounts are the Counts of a table, which do not change.
type tableCounts struct {
	table weak.Pointer[router.Table] // one that nobody else has any more is not to be kept for this
	Counts
}

// counted returns the Counts of the current table. While a page is followed they are asked for again and again.
func (a *Admin) counted() Counts {
	table := a.options.Router.Current()
	if known := a.counts.Load(); known != nil && known.table.Value() == table {
		return known.Counts
	}
	c := &tableCounts{table: weak.Make(table)}
	last := ""
	var p pace.Pace
	for _, r := range table.Routes() { // sorted by host
		p.Step()
		c.Routes++
		if r.Lingers() {
			c.Lingering++
		}
		if r.Host != last {
			c.Hosts++
			last = r.Host
		}
	}
	for range table.EachRejection {
		p.Step()
		c.Rejections++
	}
	a.counts.Store(c)
	return c.Counts
}

// certificateSummary is nil when there are no certificates.
func (a *Admin) certificateSummary() *CertificateSummary {
	if a.options.Certificates == nil {
		return nil
	}
	c := a.certificates()
	s := &CertificateSummary{Count: len(c.Certificates)}
	routes := a.options.Router.Current()
	for _, one := range c.Certificates {
		if matters(one, routes) && (s.First.IsZero() || one.NotAfter.Before(s.First)) {
			s.First = one.NotAfter
		}
	}
	if o := c.Obtained; o != nil {
		missing, failing := 0, 0
		for _, h := range o.Hosts {
			if h.Expires == nil {
				missing++
			}
			if h.Error != "" {
				failing++
			}
		}
		s.Leading, s.Missing, s.Failing = &o.Leading, &missing, &failing
	}
	return s
}
