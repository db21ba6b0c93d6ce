package auth

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Why a gate refuses a check.
var (
	errClientBusy = errors.New("too many passwords of this client are being checked")
	errBusy       = errors.New("too many passwords are being checked")
	errTooLate    = errors.New("the check has waited for too long")
	errGone       = errors.New("the client has left")
)

// gate lets few checks of passwords run at once: each takes a core for a tenth of a
// second or longer, which the requests of others need as well. Clients that wait for it
// take turns, so that a flood of wrong passwords makes others wait for one check of each
// client that takes part in it.
type gate struct {
	limits *PasswordLimits
	counts gateCounts

	mu      sync.Mutex
	free    int // checks that may begin
	waiting int
	lines   map[netip.Prefix]*line
	turns   []*line // those where somebody waits, the next one first
}

// gateCounts count the checks that a gate has refused: for one client's limit, for that of all,
// and because they have waited for too long.
type gateCounts struct{ client, all, late atomic.Uint64 }

// line is the checks of one client that wait.
type line struct {
	client netip.Prefix
	checks []chan error // each with room for one
}

// newGate makes a gate with these limits.
func newGate(l *PasswordLimits) *gate {
	return &gate{limits: l, free: l.Checks, lines: make(map[netip.Prefix]*line)}
}

// enter waits until a check may begin. When it returns nil, leave must be called.
func (g *gate) enter(client netip.Prefix, gone <-chan struct{}) error {
	err := g.wait(client, gone)
	switch err {
	case errClientBusy:
		g.counts.client.Add(1)
	case errBusy:
		g.counts.all.Add(1)
	case errTooLate:
		g.counts.late.Add(1)
		err = errBusy
	}
	return err
}

func (g *gate) wait(client netip.Prefix, gone <-chan struct{}) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	begun, err := g.join(client)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	timeout := time.NewTimer(g.limits.Wait)
	defer timeout.Stop()
	select {
	case err = <-begun:
		return err
	case <-gone:
		err = errGone
	case <-timeout.C:
		err = errTooLate
	}
	if !g.quit(client, begun) && <-begun == nil {
		g.leave() // it was let in at this moment
	}
	return err
}

// join adds a check to the line of its client. When all lines together are full, the
// newest check of the longest one makes room for a client that has fewer. g.mu is held.
func (g *gate) join(client netip.Prefix) (begun chan error, err error) {
	l := g.lines[client]
	if l == nil {
		l = &line{client: client}
	}
	if len(l.checks) >= g.limits.ClientWaiting {
		return nil, errClientBusy
	}
	if g.waiting >= g.limits.Waiting {
		longest := g.turns[0]
		for _, other := range g.turns {
			if len(other.checks) > len(longest.checks) {
				longest = other
			}
		}
		newest := len(longest.checks) - 1
		if newest <= len(l.checks) {
			return nil, errBusy
		}
		longest.checks[newest] <- errClientBusy
		longest.checks = longest.checks[:newest]
		g.waiting--
	}
	begun = make(chan error, 1)
	if l.checks = append(l.checks, begun); len(l.checks) == 1 {
		g.lines[client] = l
		g.turns = append(g.turns, l)
	}
	g.waiting++
	return begun, nil
}

// quit takes a check out of its line, and reports whether it was there.
func (g *gate) quit(client netip.Prefix, begun chan error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lines[client]
	if l == nil {
		return false
	}
	for i, c := range l.checks {
		if c == begun {
			l.checks = append(l.checks[:i], l.checks[i+1:]...)
			g.waiting--
			g.drop(l)
			return true
		}
	}
	return false
}

// drop forgets a line where nobody waits any more. g.mu is held.
func (g *gate) drop(l *line) {
	if len(l.checks) > 0 {
		return
	}
	delete(g.lines, l.client)
	for i, other := range g.turns {
		if other == l {
			g.turns = append(g.turns[:i], g.turns[i+1:]...)
			return
		}
	}
}

// leave ends a check, and lets the next client's begin.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turns) == 0 {
		g.free++
		return
	}
	l := g.turns[0]
	l.checks[0] <- nil
	l.checks = l.checks[1:]
	g.waiting--
	if len(l.checks) > 0 {
		g.turns = append(g.turns[1:], l)
	} else {
		g.drop(l)
	}
}
