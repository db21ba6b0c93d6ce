package acme

import (
	"strings"
	"time"
)

// busyCA is until when the CA is left alone, because it is busy, or says nothing of use.
// Every host would learn the same: with thousands of them, it would be asked twenty times a
// second. Guarded by leader.mu.
type busyCA struct {
	until    time.Time
	failures int // in a row
}

// The rests of a CA that fails.
const (
	firstRest   = time.Second
	longestRest = time.Minute // unless the CA says more
)

// failed notes a failure of the CA. Told is how long it wants no requests, if it said so.
func (c *busyCA) failed(told time.Duration, now time.Time) {
	if !c.until.After(now) { // several orders that are under way together fail once
		c.failures++
	}
	wait := min(firstRest<<min(c.failures-1, 10), longestRest)
	c.until = latest(c.until, now.Add(max(wait, min(told, afterLimit))))
}

// ofCA reports whether an order failed because of the CA alone, so that no host, and nobody
// who chooses the hosts, can cause it: it is busy, or its directory cannot be had, of which
// acmez tells in its text only.
func ofCA(err error, refused refusal) bool {
	return refused.status != 0 && !refused.limited || strings.Contains(err.Error(), "provisioning client: ")
}
