package oidc

import (
	"crypto/sha256"
	"time"

	"golang.org/x/oauth2"
)

// renewal is a session that is being renewed, or has just been.
type renewal struct {
	done  chan struct{} // closed when it has ended
	ended bool
	next  *session // nil when there is none
	err   error
	until time.Time // when it is forgotten
}

// renewal returns the renewal of a session, and whether the caller must do it: one request
// of a session does, the others wait. Later ones, which were sent with the old cookie, get
// the same outcome: a refresh token that is used twice looks stolen (RFC 9700 section
// 4.14.2). It returns nil where nothing can be remembered.
func (s *Shared) renewal(key string, now time.Time) (r *renewal, begin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.renewals[key]; r != nil && !(r.ended && !now.Before(r.until)) {
		return r, false
	}
	for len(s.order) > 0 {
		oldest := s.renewals[s.order[0]]
		if oldest != nil && (!oldest.ended || now.Before(oldest.until) && len(s.order) < s.limits.Renewals) {
			break
		}
		delete(s.renewals, s.order[0])
		s.order = s.order[1:]
	}
	if len(s.order) >= s.limits.Renewals {
		return nil, false
	}
	r = &renewal{done: make(chan struct{})}
	if s.renewals[key] == nil {
		s.order = append(s.order, key)
	}
	s.renewals[key] = r
	return r, true
}

// end ends a renewal of a session for all who wait. One that failed because the provider
// is away is tried again after rest, and any other failure that is not the provider's word at
// once. Where the refresh token stays good, the next renewal has the same key: it is not to get
// the outcome of this one.
func (s *Shared) end(key string, r *renewal, was, next *session, err error, rest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.next, r.err, r.ended = next, err, true
	switch r.until = time.Now().Add(renewedFor); err {
	case nil, errRefused:
	case errUnavailable:
		r.until = time.Now().Add(rest)
	default:
		r.until = time.Time{}
	}
	if next != nil && next.Refresh == was.Refresh && r.until.After(next.due()) {
		r.until = next.due()
	}
	switch err {
	case nil:
		s.renewed.Add(1)
	default:
		s.notRenewed.Add(1)
	}
	close(r.done)
}

// renewalKey stands for a session and its refresh token.
func (l *Login) renewalKey(s *session) string {
	sum := sha256.Sum256(boundTo("renewal", l.name, l.o.Issuer, l.o.ClientID, s.ID, s.Refresh))
	return string(sum[:])
}

// renew returns the session as the provider has renewed it. The error is errRefused,
// errBusy, errGone or errUnavailable.
func (l *Login) renew(a *asking, s *session) (next *session, err error) {
	key := l.renewalKey(s)
	a.Wait(func(gone <-chan struct{}) {
		r, begin := l.shared.renewal(key, a.now)
		switch {
		case r == nil:
			err = errBusy
		case begin:
			err = errUnavailable // unless begin returns
			rest := time.Duration(0)
			defer func() { l.shared.end(key, r, s, next, err, rest) }()
			if !l.provider.rests() {
				rest = l.o.Timeout
				next, err = l.begin(a, s, gone)
				l.provider.renewed(key, err)
			}
		default:
			select {
			case <-r.done:
				next, err = r.next, r.err
			case <-gone:
				err = errGone
			}
		}
	})
	return next, err
}

// begin asks the provider to renew a session.
func (l *Login) begin(a *asking, s *session, gone <-chan struct{}) (*session, error) {
	leave, err := l.places.Enter(a.client())
	if err != nil {
		return nil, err
	}
	defer leave()
	m, err := l.provider.metadata(gone)
	if err == nil {
		s, err = l.refresh(m, s)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// refresh uses the refresh token (OpenID Connect Core 1.0 section 12).
func (l *Login) refresh(m *metadata, s *session) (*session, error) {
	ctx, cancel := l.provider.context()
	defer cancel()
	token, err := l.provider.config(m, "").TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	if err != nil {
		return nil, l.provider.failed(err)
	}
	l.provider.problems.note(partToken, nil)
	next, now := *s, time.Now()
	said := claims{}
	if token.Extra("id_token") != nil {
		id, claimed, err := l.verify(ctx, m, token)
		if err == errUnsigned {
			// It comes from the provider itself, which may show a new key a moment later.
			err = errUnavailable
		}
		if err != nil {
			return l.unconfirmed(s, token, now, err)
		}
		if id.Subject != s.Subject || id.Nonce != "" && id.Nonce != s.ID {
			return nil, errRefused
		}
		said = claimed
	} else if m.UserInfo == "" {
		// It says nothing of the user any more, but that the login is still good.
		if token.RefreshToken != "" {
			next.Refresh = token.RefreshToken
		}
		next.Due = min(now.Add(l.o.Renew).Unix(), next.Ends)
		return &next, nil
	}
	if said, err = l.complete(ctx, m, token, s.Subject, said); err != nil {
		return l.unconfirmed(s, token, now, err)
	}
	if err := l.fill(&next, said, token, now); err != nil {
		return nil, errRefused
	}
	return &next, nil
}

// unconfirmed returns what becomes of a session when the provider has taken its refresh
// token, and then does not say of whom, or with which keys. The old token may be used up by
// now: the new one must not be lost. As with a provider that is away, that is so for Stale: a
// group that the user has left would count until the session ends.
func (l *Login) unconfirmed(s *session, token *oauth2.Token, now time.Time, err error) (*session, error) {
	if err != errUnavailable || token.RefreshToken == "" {
		return nil, err
	}
	next := *s
	if next.Unsaid == 0 {
		next.Unsaid = min(s.Due, now.Unix())
	}
	if now.Sub(time.Unix(next.Unsaid, 0)) >= l.o.Stale {
		return nil, errRefused
	}
	next.Refresh = token.RefreshToken
	next.Due = min(now.Add(min(time.Minute, l.o.Renew)).Unix(), next.Ends)
	return &next, nil
}
