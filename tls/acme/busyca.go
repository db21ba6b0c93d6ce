package acme

import (
	"errors"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
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
// who chooses the hosts, can cause it: it is busy, or its directory, or a nonce, with which each
// request begins, cannot be had. acmez tells of these in its text only, and only what stands before
// the CA's own text counts, since a CA quotes what hosts answer.
func ofCA(err error, refused refusal) bool {
	if refused.status != 0 && !refused.limited {
		return true
	}
	text := err.Error()
	var problem acme.Problem
	if errors.As(err, &problem) {
		text, _, _ = strings.Cut(text, problem.Error())
	}
	return strings.Contains(text, "provisioning client: ") || strings.Contains(text, "fetching new nonce from server: ")
}
