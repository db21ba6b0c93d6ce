package oidc

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// attempt is a login under way, as the browser keeps it, sealed. Several tabs have one
// each.
type attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	// Target is the path and the query that the browser has asked for.
	Target string `json:"t"`
	// Redirect is the URL of the callback that the provider was given.
	Redirect string `json:"r"`
	Began    int64  `json:"b"`
}

const (
	// mostAttempts bounds those that a browser begins one after the other: the oldest make room.
	mostAttempts = 8
	// manySlots and fewSlots are how many names the cookies of attempts may have: of those
	// that are small, and of the others. A browser that opens many tabs at once has told of
	// none of them yet when each of them begins. Its cookies replace one another then: all of
	// them together are to stay well below what a request's head may have, because a browser
	// that sends more is refused before anybody can have it forget them.
	manySlots = 32
	fewSlots  = mostAttempts
	// small bounds the target and the redirect of an attempt with a small cookie, in bytes
	// together.
	small = 256
	// longestTarget bounds what a browser is led back to: it lies in a cookie.
	longestTarget = 1024
	// keyLength is the length of an attempt's key, which its state begins with: its slot.
	keyLength   = 16
	stateLength = keyLength + 22
)

// newAttempt begins a login, which is the nth here. Its slot is none of those whose keys are
// taken, fewer than mostAttempts.
func newAttempt(n uint64, taken []string, now time.Time, target, redirect string) *attempt {
	first, slots := uint64(0), uint64(manySlots)
	if len(target)+len(redirect) > small {
		first, slots = manySlots, fewSlots
	}
	key := slotKey(first + n%slots)
	for slices.Contains(taken, key) {
		n++
		key = slotKey(first + n%slots)
	}
	return &attempt{
		State: key + random(16), Nonce: random(16),
		Verifier: oauth2.GenerateVerifier(), Target: target, Redirect: redirect, Began: now.Unix(),
	}
}

// slotKey is the key of an attempt in a slot.
func slotKey(slot uint64) string { return fmt.Sprintf("%0*x", keyLength, slot) }

// random returns so many random bytes as text.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (a *attempt) key() string { return a.State[:keyLength] }

// validState reports whether a state could be one of newAttempt's.
func validState(s string) bool {
	return len(s) == stateLength && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// sealAttempt seals an attempt for a host. Version 2 of the package writes &, < and > as one
// byte: with the six of version 1, a query of many parameters made a cookie that browsers do
// not keep.
func (l *Login) sealAttempt(a *attempt, host string) string {
	text, _ := json.Marshal(a) // strings of ASCII and a number: it never fails
	return l.o.Keys().seal(text, l.bound(forAttempt, host))
}

// unsealAttempt opens what sealAttempt has made for the host, nil for all else.
func (l *Login) unsealAttempt(sealed, host string) *attempt {
	text, ok := l.o.Keys().open(sealed, l.bound(forAttempt, host))
	if !ok {
		return nil
	}
	a := &attempt{}
	if json.Unmarshal(text, a) != nil || !validState(a.State) {
		return nil
	}
	return a
}

// openAttempt opens the attempt with that state, nil if the cookie is another one's, or
// too old.
func (l *Login) openAttempt(sealed, host, state string, now time.Time) *attempt {
	a := l.unsealAttempt(sealed, host)
	if a == nil || subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) != 1 {
		return nil
	}
	if age := now.Sub(time.Unix(a.Began, 0)); age > l.shared.limits.LoginTime || age < -longestSkew {
		return nil
	}
	return a
}

// localTarget reports whether a path with its query leads nowhere but to the host that it
// is asked of, whichever browser reads it: some take a backslash for a slash, and drop tabs
// and line ends.
func localTarget(target string) bool {
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && (target[1] == '/' || target[1] == '\\') {
		return false
	}
	return visible(target) && !strings.ContainsAny(target, "\\#")
}

// targetOf is what a browser is led back to after its login.
func targetOf(target []byte) string {
	if len(target) > longestTarget || !localTarget(string(target)) {
		return "/"
	}
	return string(target)
}
