package oidc

import (
	"errors"
	"net/url"
	"strings"

	"serai/policy"
)

// longestCode bounds the code that a provider sends a browser back with.
const longestCode = 4096

// callback answers a browser that comes back from the provider.
func (a *asking) callback() (answered bool) {
	l, head := a.l, a.Received()
	if string(head.Method) != "GET" {
		return a.refuse(403, policy.ErrAuthDenied.Code, "the provider sends browsers back with GET")
	}
	query, err := url.ParseQuery(string(head.Query))
	if err != nil {
		return a.lost("the provider's answer is malformed")
	}
	state, ok := only(query, "state")
	if !ok || !validState(state) {
		return a.lost("the provider's answer has no state")
	}
	sealed, ok := a.cookies.attempts[state[:keyLength]]
	if !ok {
		return a.lost("this login was begun in another browser, has ended, or took too long")
	}
	t := l.openAttempt(sealed, a.host, state, a.now)
	if t == nil {
		if l.unsealAttempt(sealed, a.host) == nil { // else it is a later login's, or has taken too long
			l.shared.forged.Add(1)
		}
		return a.lost("this login was begun in another browser, took too long, or has made room for others")
	}
	a.keep(setCookie(l.attemptName(a.secure, t.key()), "", a.secure, 0))
	if !l.shared.use(state, a.now) {
		return a.lost("this login has come back before")
	}
	return a.finish(t, query)
}

// only returns a parameter that is there once.
func only(query url.Values, name string) (value string, ok bool) {
	if len(query[name]) != 1 {
		return "", false
	}
	return query[name][0], true
}

// lost answers a browser whose login leads nowhere. One that has a session, such as after
// a step back, or in the second of many tabs, goes on to the host's first page.
func (a *asking) lost(why string) (answered bool) {
	if a.current() != nil {
		return a.redirect(a.origin + "/")
	}
	return a.refuse(403, policy.ErrAuthDenied.Code, why+": go back to the page that you wanted, and log in again")
}

// finish has the provider say who has logged in. The attempt is this browser's, and has
// not come back before.
func (a *asking) finish(t *attempt, query url.Values) (answered bool) {
	l := a.l
	fail := func(why string, err error) bool {
		l.shared.failures.Add(1)
		if err != nil {
			return a.unable(err)
		}
		return a.refuse(403, policy.ErrAuthDenied.Code, why)
	}
	// RFC 9207: another provider's answer is not for this one's token endpoint.
	issuer, says := only(query, "iss")
	if query.Has("iss") && (!says || issuer != l.o.Issuer) {
		return fail("the answer is another provider's", nil)
	}
	if query.Has("error") {
		return fail(providerError(query.Get("error")))
	}
	code, ok := only(query, "code")
	if !ok || code == "" || len(code) > longestCode {
		return fail("the provider's answer has no code", nil)
	}
	if !l.shared.admit(a.client(), a.now) {
		return fail("", errTooOften)
	}
	leave, err := l.places.Enter(a.client())
	if err != nil {
		return fail("", err)
	}
	defer leave()
	var s *session
	a.Wait(func(gone <-chan struct{}) {
		var m *metadata
		if m, err = l.provider.metadata(gone); err == nil && m.SaysIssuer && !says {
			err = errRefused
		}
		if err == nil {
			s, err = l.login(m, t, code)
		}
	})
	switch {
	case errors.Is(err, errRefused):
		return fail("the provider does not confirm this login: go back to the page that you wanted, and log in again", nil)
	case errors.Is(err, errUnknownUser):
		return fail(err.Error(), nil)
	case err != nil:
		return fail("", err)
	}
	sealed, ok := l.sealSession(s, a.host)
	if !ok {
		l.shared.tooLarge.Add(1)
		return fail("what the provider says of you is too much for a cookie", nil)
	}
	l.shared.logins.Add(1)
	a.keep(l.sessionFields(sealed, &a.cookies, a.secure, a.left(s))...)
	// The whole URL, so that no browser finds another host in it.
	return a.redirect(a.origin + t.Target)
}

// providerError is what an error of the authorization endpoint is answered with (RFC 6749
// section 4.1.2.1).
func providerError(code string) (why string, err error) {
	if code == "temporarily_unavailable" || code == "server_error" {
		return "", errUnavailable
	}
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		code = "an error"
	}
	return "the provider has not let you in: " + code, nil
}
