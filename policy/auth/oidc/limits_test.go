package oidc

import (
	"fmt"
	"testing"
	"time"
)

// TestLimits: each limit of what is remembered, and of what is asked, may be another one, and
// what has to go before its time is counted.
func TestLimits(t *testing.T) {
	s, now := NewShared(), time.Now()
	s.SetLimits(Limits{Revoked: 3, Used: 4, Renewals: 5, Clients: 6, ClientRate: 2, Rate: 20, LoginTime: time.Hour})
	for n := range 10 {
		s.revoke(fmt.Sprint(n), now, now.Add(time.Hour))
		s.use(fmt.Sprint(n), now)
		if r, begin := s.renewal(fmt.Sprint(n), now); begin {
			s.end(fmt.Sprint(n), r, &session{}, &session{Refresh: "another"}, nil, 0)
		}
	}
	if got := s.Status(); got.Revoked != 3 || got.Displaced != 7 || got.Used != 4 || got.DisplacedLogins != 6 || got.Renewals != 5 {
		t.Errorf("%+v", got)
	}
	if !s.use("again", now) || s.use("again", now.Add(time.Hour)) || !s.use("again", now.Add(time.Hour+2*longestSkew)) {
		t.Error("a login is not remembered for as long as it may take")
	}
	admitted := 0
	for range 100 {
		if s.admit(client(1), now) {
			admitted++
		}
	}
	if admitted != 20 {
		t.Errorf("one client is admitted %d times at once", admitted)
	}
	for n := range 200 {
		if s.admit(client(2+n), now) {
			admitted++
		}
	}
	if admitted != 100 || len(s.clients) != 6 {
		t.Errorf("all are admitted %d times at once, and %d clients are told apart", admitted, len(s.clients))
	}
}

// TestLoginTime: a login that has taken longer does not open.
func TestLoginTime(t *testing.T) {
	l := newLogin(t, "corp", keysOf(t, 1))
	l.shared.SetLimits(Limits{LoginTime: time.Minute})
	now := time.Now()
	a := newAttempt(0, nil, now, "/", "https://a.test/")
	sealed := l.sealAttempt(a, "a.test")
	if l.openAttempt(sealed, "a.test", a.State, now.Add(59*time.Second)) == nil || l.openAttempt(sealed, "a.test", a.State, now.Add(62*time.Second)) != nil {
		t.Error("a login does not open for a minute")
	}
}
