package auth

import (
	"runtime"
	"sync/atomic"
	"time"
)

// PasswordLimits bound what checking passwords takes. Zero values mean the defaults named.
type PasswordLimits struct {
	// Known is how many passwords that were right are remembered, 8192, a hundred bytes
	// each, and KnownFor how long, 1m; negative for none.
	Known    int
	KnownFor time.Duration
	// Checks run at once, half of the cores. Waiting wait for that, 256, of one client
	// ClientWaiting, 8, and each of them for Wait, 5s.
	Checks, Waiting, ClientWaiting int
	Wait                           time.Duration
	// Credentials are the bytes of a name and its password, 512: the time that SHA-crypt
	// takes grows with the square of the length.
	Credentials int
}

func (l *PasswordLimits) setDefaults() {
	setDefault(&l.Known, 8192)
	setDefault(&l.KnownFor, time.Minute)
	setDefault(&l.Checks, max(1, runtime.GOMAXPROCS(0)/2))
	setDefault(&l.Waiting, 256)
	setDefault(&l.ClientWaiting, 8)
	setDefault(&l.Wait, 5*time.Second)
	setDefault(&l.Credentials, 512)
}

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// SetLimits replaces the default limits. It must be called before the first request.
func (p *Passwords) SetLimits(l PasswordLimits) {
	l.setDefaults()
	p.limits = l
	p.gate = newGate(&l)
}

// passwordCounts count what has become of passwords.
type passwordCounts struct {
	right, wrong    atomic.Uint64 // computed
	long, displaced atomic.Uint64
}

// PasswordStatus is the state of a Passwords.
type PasswordStatus struct {
	// Known is how many passwords are remembered, of at most Limit; Displaced were forgotten
	// before their time.
	Known, Limit int
	Displaced    uint64
	// Waiting is how many checks wait to begin, of at most WaitingLimit.
	Waiting, WaitingLimit int
	// Right and Wrong were computed.
	Right, Wrong uint64
	// Refused counts those that were not, by the limit: length, client, all, time.
	Refused map[string]uint64
}

// Status returns the state.
func (p *Passwords) Status() PasswordStatus {
	p.mu.Lock()
	known := len(p.verified)
	p.mu.Unlock()
	g, c := p.gate, &p.counts
	g.mu.Lock()
	waiting := g.waiting
	g.mu.Unlock()
	return PasswordStatus{
		Known: known, Limit: max(0, p.limits.Known), Displaced: c.displaced.Load(), Waiting: waiting, WaitingLimit: p.limits.Waiting,
		Right: c.right.Load(), Wrong: c.wrong.Load(),
		Refused: map[string]uint64{"length": c.long.Load(), "client": g.counts.client.Load(), "all": g.counts.all.Load(), "time": g.counts.late.Load()},
	}
}
