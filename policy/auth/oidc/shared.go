package oidc

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what a process remembers for all its Logins together, and what clients may have
// their providers asked. Zero values mean the defaults named.
type Limits struct {
	// Revoked are sessions that were logged out of here, 65,536, a hundred bytes each.
	Revoked int
	// Used are logins that came back here, 8,192.
	Used int
	// Renewals are sessions that are renewed, or were a moment ago, 2,048, each as long as
	// its cookies at most.
	Renewals int
	// Clients are those that came back from a provider a moment ago, 4,096.
	Clients int
	// ClientRate is how often in a second one client may have a provider asked whether a
	// login is right, 10, and ten times as often at once; Rate is for all, 100, and five
	// times as often at once.
	ClientRate, Rate int
	// LoginTime is how long a user may take to log in, 15m.
	LoginTime time.Duration
}

func (l *Limits) setDefaults() {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Revoked, 65_536)
	set(&l.Used, 8_192)
	set(&l.Renewals, 2_048)
	set(&l.Clients, 4_096)
	set(&l.ClientRate, 10)
	set(&l.Rate, 100)
	if l.LoginTime == 0 {
		l.LoginTime = 15 * time.Minute
	}
}

// What may be asked at once, in seconds of the rate.
const (
	clientBurst = 10
	allBurst    = 5
)

// renewedFor is how long the outcome of a renewal is remembered: requests that were sent
// with the old cookie come a moment later.
const renewedFor = time.Minute

// Shared is what a node remembers of sessions, for all Logins of a process, whatever the
// config file becomes. All of it may be lost: docs/policies.md says what for.
type Shared struct {
	node   [16]byte // makes this node differ from others
	limits Limits
	logger atomic.Pointer[slog.Logger]

	mu       sync.Mutex
	revoked  expiring
	used     expiring
	renewals map[string]*renewal
	order    []string // of renewals, the oldest first
	clients  map[netip.Prefix]time.Time
	all      time.Time
	tidy     time.Time // clients are not looked through before

	begun atomic.Uint64 // logins: those that begin one after the other have different slots

	logins, failures, renewed, notRenewed, logouts, limited, forged, displaced atomic.Uint64
	// displacedLogins could come back twice, and sessions that were too large fit into no
	// cookies.
	displacedLogins, tooLarge atomic.Uint64
}

// Status is what Shared has, and has counted.
type Status struct {
	// Revoked, Used, Renewals are how many of each are remembered.
	Revoked, Used, Renewals int
	// Logins and Failures are users who came back from the provider; Renewed and
	// NotRenewed are sessions; Logouts are those of users. Limited are requests refused
	// because of a limit, Forged are cookies that did not open, and Displaced are
	// sessions that were logged out of and are forgotten before their time.
	Logins, Failures, Renewed, NotRenewed, Logouts, Limited, Forged, Displaced uint64
	// DisplacedLogins are logins that are forgotten before their time, so that they could come
	// back twice. TooLarge are sessions that do not fit into cookies.
	DisplacedLogins, TooLarge uint64
}

// NewShared makes a Shared that remembers nothing, with the default limits.
func NewShared() *Shared {
	s := &Shared{renewals: make(map[string]*renewal), clients: make(map[netip.Prefix]time.Time)}
	s.SetLimits(Limits{})
	rand.Read(s.node[:])             // it never fails
	s.begun.Store(uint64(s.node[0])) // or nodes that start together would use the same slots together
	return s
}

// SetLimits replaces the default limits. It must be called before the first request.
func (s *Shared) SetLimits(l Limits) {
	l.setDefaults()
	s.limits = l
	s.revoked, s.used = newExpiring(l.Revoked), newExpiring(l.Used)
}

// Log has problems with providers logged, of all Logins.
func (s *Shared) Log(logger *slog.Logger) { s.logger.Store(logger) }

// Status returns what s has.
func (s *Shared) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Revoked: s.revoked.len(), Used: s.used.len(), Renewals: len(s.renewals),
		Logins: s.logins.Load(), Failures: s.failures.Load(), Renewed: s.renewed.Load(), NotRenewed: s.notRenewed.Load(),
		Logouts: s.logouts.Load(), Limited: s.limited.Load(), Forged: s.forged.Load(), Displaced: s.displaced.Load(),
		DisplacedLogins: s.displacedLogins.Load(), TooLarge: s.tooLarge.Load(),
	}
}

// revoke ends a session on this node.
func (s *Shared) revoke(id string, now, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revoked.add(id, now, until) {
		s.displaced.Add(1)
	}
}

func (s *Shared) isRevoked(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked.has(id, now)
}

// isUsed reports whether an attempt has come back before.
func (s *Shared) isUsed(state string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.has(state, now)
}

// use notes that an attempt has come back, and reports whether it is the first time.
func (s *Shared) use(state string, now time.Time) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used.has(state, now) {
		return false
	}
	if s.used.add(state, now, now.Add(s.limits.LoginTime+longestSkew)) {
		s.displacedLogins.Add(1)
	}
	return true
}

// admit reports whether a client may have the provider asked once more.
func (s *Shared) admit(client netip.Prefix, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, known := s.clients[client]
	if !known && len(s.clients) >= s.limits.Clients && !now.Before(s.tidy) {
		s.tidy = now.Add(time.Second) // it looks at all of them
		for c, at := range s.clients {
			if at.Before(now) {
				delete(s.clients, c)
			}
		}
	}
	// GCRA: next is when all that was taken is given back.
	if next = later(next, now).Add(time.Second / time.Duration(s.limits.ClientRate)); next.Sub(now) > clientBurst*time.Second {
		return false
	}
	network := networkOf(client)
	half := later(s.clients[network], now).Add(time.Second / time.Duration(max(s.limits.ClientRate, s.limits.Rate/2)))
	all := later(s.all, now).Add(time.Second / time.Duration(s.limits.Rate))
	if all.Sub(now) > allBurst*time.Second || half.Sub(now) > allBurst*time.Second {
		return false
	}
	s.all = all
	for p, until := range map[netip.Prefix]time.Time{client: next, network: half} {
		if _, known := s.clients[p]; known || len(s.clients) < s.limits.Clients {
			s.clients[p] = until
		}
	}
	return true
}

// networkOf is what one stranger may have many addresses of: a /24 of IPv4, a /48 of IPv6.
// One network has no more than half of what all have together: the other half is for everybody
// else.
func networkOf(client netip.Prefix) netip.Prefix {
	bits := 48
	if client.Addr().Is4() {
		bits = 24
	}
	if client.Bits() <= bits { // not an address of a client
		return client
	}
	return netip.PrefixFrom(client.Addr(), bits).Masked()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// expiring is a set whose elements end by themselves. When it is full, the oldest goes.
type expiring struct {
	most  int
	until map[string]time.Time
	order []string
}

func newExpiring(most int) expiring { return expiring{most: most, until: make(map[string]time.Time)} }

func (e *expiring) len() int { return len(e.until) }

func (e *expiring) has(key string, now time.Time) bool {
	until, ok := e.until[key]
	return ok && now.Before(until)
}

// add adds an element, and reports whether one had to go before its time.
func (e *expiring) add(key string, now, until time.Time) (displaced bool) {
	if _, ok := e.until[key]; ok {
		e.until[key] = until
		return false
	}
	for len(e.order) > 0 {
		over := !now.Before(e.until[e.order[0]])
		if !over && len(e.order) < e.most {
			break
		}
		displaced = displaced || !over
		delete(e.until, e.order[0])
		e.order = e.order[1:]
	}
	e.until[key] = until
	e.order = append(e.order, key)
	return displaced
}
