package oidc

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"serai/policy"
	"serai/wire"
)

// confirmation asks whether the user wants to log out, where another site may have sent
// the browser.
const confirmation = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Log out</title>
<form method="post"><p>Do you want to log out?</p><button>Log out</button></form></html>
`

// logout ends the session: this browser forgets it, this node lets it in no more, and the
// provider is told. Another node does not know, and lets a copy of the cookie in until it
// is to be renewed.
func (a *asking) logout() (answered bool) {
	l, method := a.l, string(a.Received().Method)
	switch {
	case method != "GET" && method != "POST":
		return a.refuse(403, policy.ErrAuthDenied.Code, "log out with GET or POST")
	case !a.wanted() && method == "POST":
		return a.refuse(403, policy.ErrAuthDenied.Code, "another site has sent this")
	case !a.wanted():
		a.reply.Status, a.reply.Reason, a.reply.Body = 200, policy.ErrAuthLogin.Code, []byte(confirmation)
		a.add("Content-Type", "text/html; charset=utf-8")
		a.add("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
		a.add("X-Frame-Options", "DENY")
		a.add("Cache-Control", "no-store")
		return true
	}
	var s *session
	if sealed := a.cookies.session(); sealed != "" {
		s = l.openSession(sealed, a.host)
	}
	if s != nil && !s.over(a.now) && !l.shared.isRevoked(s.ID, a.now) {
		l.shared.revoke(s.ID, a.now, time.Unix(s.Ends, 0))
		l.shared.logouts.Add(1)
	} else {
		s = nil
	}
	a.keep(l.sessionFields("", &a.cookies, a.secure, 0)...)
	for key := range a.cookies.attempts {
		a.keep(setCookie(l.attemptName(a.secure, key), "", a.secure, 0))
	}
	m, hint := a.tellProvider(s)
	if m != nil && m.EndSession != "" {
		return a.redirect(a.endSession(m, hint))
	}
	if to := a.afterLogout(); to != "" {
		return a.redirect(to)
	}
	a.reply.Status, a.reply.Reason, a.reply.Body = 200, policy.ErrAuthLogin.Code, []byte("You are logged out here.\n")
	a.add("Content-Type", "text/plain; charset=utf-8")
	a.add("Cache-Control", "no-store")
	return true
}

// tellProvider has the refresh token of a session, which may be nil, revoked, so that no
// node can renew a copy of it. It returns what is known of the provider, nil where it is
// away, which keeps nobody from logging out here; and an ID token for its end of session.
func (a *asking) tellProvider(s *session) (m *metadata, hint string) {
	leave, err := a.l.places.Enter(a.client())
	if err != nil {
		return nil, ""
	}
	defer leave()
	a.Wait(func(gone <-chan struct{}) {
		if m, err = a.l.provider.metadata(gone); err == nil && s != nil && s.Refresh != "" {
			var token string
			token, hint = a.l.lastTokens(m, s)
			a.l.provider.revoke(m, token)
		}
	})
	return m, hint
}

// longestHint bounds the ID token in the URL of an end of session: servers take URLs of 8
// KiB or more.
const longestHint = 4096

// lastTokens uses the refresh token of a session once more, and returns the one that is
// good by then, and an ID token. So none has to lie in the cookie for hours, which each
// request would carry.
func (l *Login) lastTokens(m *metadata, s *session) (refresh, hint string) {
	if m.EndSession == "" || l.provider.rests() {
		return s.Refresh, ""
	}
	ctx, cancel := l.provider.context()
	defer cancel()
	token, err := l.provider.config(m, "").TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	if err != nil {
		l.provider.failed(err) // for the operator: the user is logged out all the same
		return s.Refresh, ""
	}
	if hint, _ = token.Extra("id_token").(string); len(hint) > longestHint {
		hint = ""
	}
	return cmp.Or(token.RefreshToken, s.Refresh), hint
}

// wanted reports whether the user, or a page of this host, has asked: else any page could
// log users out with a link.
func (a *asking) wanted() bool {
	head := a.Received()
	if site := wire.Get(head.Fields, "sec-fetch-site"); site != nil {
		if string(head.Method) == "POST" {
			return string(site) == "same-origin"
		}
		return (string(site) == "same-origin" || string(site) == "none") && string(wire.Get(head.Fields, "sec-fetch-mode")) == "navigate" && !a.prefetches()
	}
	if origin := wire.Get(head.Fields, "origin"); origin != nil {
		return string(origin) == a.origin
	}
	return strings.HasPrefix(string(wire.Get(head.Fields, "referer")), a.origin+"/")
}

// afterLogout is where the operator wants browsers then, empty for nowhere.
func (a *asking) afterLogout() string {
	to := a.l.o.LogoutRedirect
	if strings.HasPrefix(to, "/") {
		return a.origin + to
	}
	return to
}

// endSession is where the provider ends its own session (OpenID Connect RP-Initiated
// Logout 1.0 section 2). It is told the client, and with an ID token the session: without
// one, some providers ask the user first, and others do not send the browser back.
func (a *asking) endSession(m *metadata, hint string) string {
	u, err := url.Parse(m.EndSession)
	if err != nil {
		return a.origin + "/"
	}
	query := u.Query()
	query.Set("client_id", a.l.o.ClientID)
	if hint != "" {
		query.Set("id_token_hint", hint)
	}
	if to := a.afterLogout(); to != "" {
		query.Set("post_logout_redirect_uri", to)
	}
	u.RawQuery = query.Encode()
	return u.String()
}
