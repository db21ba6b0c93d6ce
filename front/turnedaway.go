package front

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// turnedAway remembers for a while which clients found no place, or were told to give one
// back. An attacker who has many addresses and uses each again and again is in it; a
// client that comes for the first time is not.
//
// It has a bit for each client, in tables of fixed size: a client may share its bit with
// another one, and then counts as turned away when that one was. With all 65,536 networks of an
// IPv6 /48 in the tables, this happens to one client in sixteen.
type turnedAway struct {
	seed         maphash.Seed
	newer, older []uint64  // nil until a client is turned away
	began        time.Time // newer has the clients that were turned away since then
}

const (
	turnedAwayBits = 1 << 20
	// turnedAwayFor is how long a client is remembered at least; twice as long at most.
	turnedAwayFor = 10 * time.Second
)

// has reports whether the client was turned away lately.
func (a *turnedAway) has(client netip.Prefix, now time.Time) bool {
	if a.newer == nil {
		return false
	}
	if age := now.Sub(a.began); age >= turnedAwayFor {
		a.newer, a.older, a.began = a.older, a.newer, now
		clear(a.newer)
		if age >= 2*turnedAwayFor {
			clear(a.older)
		}
	}
	i, bit := a.place(client)
	return (a.newer[i]|a.older[i])&bit != 0
}

// add remembers the client. One that is remembered already is so no longer than before: if it
// goes on trying, it counts as new again after some time.
func (a *turnedAway) add(client netip.Prefix, now time.Time) {
	if a.newer == nil {
		a.seed, a.began = maphash.MakeSeed(), now
		a.newer, a.older = make([]uint64, turnedAwayBits/64), make([]uint64, turnedAwayBits/64)
	}
	if !a.has(client, now) {
		i, bit := a.place(client)
		a.newer[i] |= bit
	}
}

// place returns where the client's bit is.
func (a *turnedAway) place(client netip.Prefix) (i, bit uint64) {
	h := maphash.Comparable(a.seed, client) % turnedAwayBits
	return h / 64, 1 << (h % 64)
}
