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
	if l.shared.isUsed(state, a.now) {
		a.drop(t)
		return a.replayed()
	}
	return a.finish(t, query)
}

// end ends an attempt, and reports whether it has not ended before: it counts once.
func (a *asking) end(t *attempt) (first bool) {
	a.drop(t)
	return a.l.shared.use(t.State, a.now)
}

// drop has the browser forget an attempt.
func (a *asking) drop(t *attempt) {
	a.keep(setCookie(a.l.attemptName(a.secure, t.key()), "", a.secure, 0))
}

func (a *asking) replayed() (answered bool) { return a.lost("this login has come back before") }

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

// codeOf returns the code that the provider has sent a browser back with; empty if it has
// sent none, with why, or with the error where that is the provider's.
func (l *Login) codeOf(query url.Values) (code, why string, err error) {
	// RFC 9207: another provider's answer is not for this one's token endpoint.
	issuer, says := only(query, "iss")
	if query.Has("iss") && (!says || issuer != l.o.Issuer) {
		return "", "the answer is another provider's", nil
	}
	if query.Has("error") {
		why, err = providerError(query.Get("error"))
		return "", why, err
	}
	code, ok := only(query, "code")
	if !ok || code == "" || len(code) > longestCode {
		return "", "the provider's answer has no code", nil
	}
	return code, "", nil
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
	code, why, err := l.codeOf(query)
	if code == "" {
		if !a.end(t) {
			return a.replayed()
		}
		return fail(why, err)
	}
	// As long as the code was sent nowhere, the login is not over: a browser that was
	// refused because of a limit may load the page again.
	if !l.shared.admit(a.client(), a.now) {
		return a.unable(errTooOften)
	}
	leave, err := l.places.Enter(a.client())
	if err != nil {
		return a.unable(err)
	}
	defer leave()
	var m *metadata
	a.Wait(func(gone <-chan struct{}) { m, err = l.provider.metadata(gone) })
	if err != nil {
		return a.unable(err)
	}
	if !a.end(t) { // another request has brought it meanwhile
		return a.replayed()
	}
	var s *session
	if m.SaysIssuer && !query.Has("iss") {
		err = errRefused
	} else {
		a.Wait(func(<-chan struct{}) { s, err = l.login(m, t, code) })
	}
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
