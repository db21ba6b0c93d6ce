package acme

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// A serai that stops is deregistered, but serves until its drain is over, with its
// current flags. The next one is registered as soon as it has ended; so an address
// where nobody listens counts as unused only after a while.
const (
	// leavesWithin is how long such a serai is still asked: an agent gives a task 30
	// seconds to end, unless its max_kill_timeout is raised.
	leavesWithin = time.Minute
	// goneAfter is how long nobody must listen.
	goneAfter = 5 * time.Second
)

// leaving is the state of a serai that did not answer validations.
type leaving struct {
	since time.Time // when it was deregistered; zero while registered
	gone  time.Time // since when nobody listens there; zero while somebody does
}

// await adds to the missing serai those that are deregistered and may still serve,
// unless another one has taken their address.
func (p *peers) await(all, missing []Peer) []Peer {
	registered := make(map[string]bool, len(all))
	for _, o := range all {
		registered[o.Address] = true
	}
	awaited := make(map[Peer]leaving, len(missing))
	for _, m := range missing {
		awaited[m] = leaving{}
	}
	now := time.Now()
	for _, o := range slices.SortedFunc(maps.Keys(p.awaited), func(a, b Peer) int { return strings.Compare(a.Address+a.ID, b.Address+b.ID) }) {
		l := p.awaited[o]
		if registered[o.Address] {
			continue
		}
		if l.since.IsZero() {
			l.since = now
		}
		if now.Sub(l.since) < leavesWithin {
			awaited[o] = l
			missing = append(missing, o)
		}
	}
	p.awaited = awaited
	return missing
}

// asked records the result of asking a serai, and reports whether to ask it again.
func (p *peers) asked(o Peer, err error) bool {
	l := p.awaited[o]
	if err == nil {
		p.passed[o] = true
		delete(p.awaited, o)
		return false
	}
	if l.since.IsZero() {
		return true
	}
	var network *net.OpError
	switch now := time.Now(); {
	case !errors.As(err, &network) || network.Op != "dial":
		l.gone = time.Time{}
	case l.gone.IsZero():
		l.gone = now
	case now.Sub(l.gone) >= goneAfter:
		delete(p.awaited, o)
		return false
	}
	p.awaited[o] = l
	return true
}
