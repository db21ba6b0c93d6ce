package acme

import (
	"context"
	"time"
)

// Status describes the certificates that serai obtains.
type Status struct {
	// Leader is the name of the serai that orders, or did last.
	Leader string `json:"leader,omitempty"`
	// Leading says that it is this serai.
	Leading   bool   `json:"leading"`
	Directory string `json:"directory,omitempty"`
	// Problem is why the store cannot be read, empty when it can be.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"since"`
	// Waiting says which serai orders wait for; nil when they do not, or when this
	// serai does not order.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Budget is what is left of the limits, nil when this serai does not order.
	Budget *Budget `json:"budget,omitempty"`
	// Hosts are the hosts for which certificates are obtained, sorted.
	Hosts []HostStatus `json:"hosts"`
}

// HostStatus describes one host's certificate.
type HostStatus struct {
	Host      string `json:"host"`
	Namespace string `json:"namespace,omitempty"`
	// Held is the limit that its order waits for, if this serai orders.
	Held string `json:"held,omitempty"`
	// Expires is when its certificate expires; nil when it has none.
	Expires *time.Time `json:"expires,omitempty"`
	// Next is when it is renewed, or when the order is tried again.
	Next *time.Time `json:"next,omitempty"`
	// Error is why the last order failed, and Attempts how many have failed.
	Error    string `json:"error,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
}

// Status returns the status. It reads the leader's name from the store, unless ctx has
// ended.
func (i *Issuer) Status(ctx context.Context) Status {
	s := Status{Leading: i.Leading(), Waiting: i.waiting.Load(), Hosts: []HostStatus{}}
	i.mirror.mu.Lock()
	s.Problem, s.Since = i.mirror.problem, i.mirror.since
	i.mirror.mu.Unlock()
	if ctx.Err() == nil {
		var err error
		if s.Leader, err = i.options.Store.Leader(ctx); err != nil && s.Problem == "" {
			s.Problem = err.Error()
		}
	}
	if i.engine == nil {
		return s
	}
	s.Directory = i.options.Directory
	p := i.plan.Load()
	if p != nil {
		s.Budget = p.budget
	}
	for _, host := range i.options.wanted() {
		h := i.hostStatus(host)
		if p != nil {
			h.hold(p.waits[host.Name])
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

// hold says what an order waits for.
func (h *HostStatus) hold(w *held) {
	if w == nil {
		return
	}
	h.Held = w.why
	if !w.until.IsZero() {
		h.Next = &w.until
	}
}

func (i *Issuer) hostStatus(wanted Host) HostStatus {
	host := wanted.Name
	h := HostStatus{Host: host, Namespace: wanted.Namespace}
	e := i.certOf(host)
	if e != nil && e.cert != nil {
		next := usualRenewal(e.cert)
		i.mu.Lock()
		if at, ok := i.renewals[host]; ok {
			next = at
		}
		i.mu.Unlock()
		h.Expires, h.Next = &e.cert.Leaf.NotAfter, &next
	}
	if e != nil {
		h.Error = e.problem
	}
	if f := i.failureOf(host); f != nil {
		h.Error, h.Attempts = f.Error, f.Attempts
		if next := f.again(time.Now()); !next.IsZero() && (h.Next == nil || next.After(*h.Next)) {
			h.Next = &next
		}
	}
	return h
}
