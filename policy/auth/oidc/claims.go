package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"serai/policy/auth/keys"
)

const (
	// longestSkew is how far the provider's clock may be from ours.
	longestSkew = time.Minute
	// longestClaim bounds each text that is read of a user, and mostGroups the groups.
	longestClaim = 512
	mostGroups   = 1000
)

// claims are what a provider says of a user.
type claims map[string]any

// login has a code exchanged, and reads who has logged in.
func (l *Login) login(m *metadata, a *attempt, code string) (*session, error) {
	ctx, cancel := l.provider.context()
	defer cancel()
	token, err := l.provider.config(m, a.Redirect).Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return nil, l.provider.failed(err)
	}
	l.provider.problems.note(partToken, nil)
	id, said, err := l.verify(ctx, m, token)
	if err != nil {
		return nil, err
	}
	// OpenID Connect Core 1.0 section 3.1.3.7, 11.
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return nil, errRefused
	}
	if said, err = l.complete(ctx, m, token, id.Subject, said); err != nil {
		return nil, err
	}
	now := time.Now()
	s := &session{ID: a.Nonce, Subject: id.Subject, Ends: now.Add(l.o.Lifetime).Unix()}
	return s, l.fill(s, said, token, now)
}

// verify checks the ID token of an answer: its signature by a key of the provider and an
// asymmetric algorithm, iss, aud and exp are the library's part (OpenID Connect Core 1.0
// section 3.1.3.7).
func (l *Login) verify(ctx context.Context, m *metadata, token *oauth2.Token) (*oidclib.IDToken, claims, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		l.provider.problems.note(partIDToken, errors.New("there is none in the answer of its token endpoint: it may not know the scope openid"))
		return nil, nil, errUnavailable
	}
	why := &unproved{}
	id, err := m.verifier.Verify(context.WithValue(ctx, unprovedKey{}, why), raw)
	l.provider.problems.note(partIDToken, err)
	switch {
	case err != nil && (why.away || ctx.Err() != nil):
		return nil, nil, errUnavailable
	case err != nil && why.unsigned:
		return nil, nil, errUnsigned
	case err != nil:
		return nil, nil, errRefused
	}
	said, err := readClaims(id.Claims)
	if err != nil {
		return nil, nil, errRefused
	}
	party, named := said["azp"]
	switch {
	case named && party != l.o.ClientID, !named && len(id.Audience) > 1:
		return nil, nil, errRefused // it was made for somebody else
	case id.IssuedAt.After(time.Now().Add(longestSkew)):
		return nil, nil, errRefused
	case id.Subject == "" || len(id.Subject) > longestClaim:
		return nil, nil, errRefused
	case id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil:
		return nil, nil, errRefused
	}
	return id, said, nil
}

// complete adds what the provider says elsewhere: by section 5.4, claims of scopes are
// those of the UserInfo endpoint where there is an access token.
func (l *Login) complete(ctx context.Context, m *metadata, token *oauth2.Token, subject string, said claims) (claims, error) {
	if m.UserInfo == "" || l.enough(said) {
		return said, nil
	}
	info, err := m.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	l.provider.problems.note(partUserInfo, err)
	if err != nil {
		// Some give access tokens that are good elsewhere only. What the ID token does not
		// say, nobody is told then.
		if status := statusOf(err); (status == http.StatusUnauthorized || status == http.StatusForbidden) && said.find(l.o.UserClaim) != nil {
			return said, nil
		}
		return nil, errUnavailable
	}
	more, err := readClaims(info.Claims)
	if err != nil || info.Subject != subject { // section 5.3.2: it could be about another user
		return nil, errRefused
	}
	for name, value := range said {
		more[name] = value // what is signed counts
	}
	return more, nil
}

// enough reports whether all is said that is asked for.
func (l *Login) enough(said claims) bool {
	return said.find(l.o.UserClaim) != nil && said["email"] != nil && said.find(l.o.GroupsClaim) != nil
}

// fill sets what a provider's answer says of the user.
func (l *Login) fill(s *session, said claims, token *oauth2.Token, now time.Time) error {
	// An address that its owner has not confirmed may be anybody's, and names nobody. Some say
	// so as text.
	if confirmed := said["email_verified"]; confirmed == false || confirmed == "false" {
		delete(said, "email")
	}
	user, _ := said.find(l.o.UserClaim).(string)
	if !fieldValue(user) || len(user) > longestClaim {
		return errUnknownUser
	}
	s.User, s.Email, s.Groups = user, "", said.texts(l.o.GroupsClaim)
	if email, _ := said["email"].(string); fieldValue(email) && len(email) <= longestClaim {
		s.Email = email
	}
	if token.RefreshToken != "" {
		s.Refresh = token.RefreshToken
	}
	s.Due, s.Unsaid = min(now.Add(l.o.Renew).Unix(), s.Ends), 0
	return nil
}

// errUnknownUser is that the provider does not name a user as the operator wants.
var errUnknownUser = errors.New("the provider names no user in the claim that the operator has chosen")

// readClaims reads claims with numbers as they came. It refuses what two readers could read
// in two ways: a name that comes twice, also in another case where the library takes both
// for the same.
func readClaims(from func(any) error) (claims, error) {
	var raw json.RawMessage
	if err := from(&raw); err != nil {
		return nil, err
	}
	said, err := keys.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	for name := range said {
		for _, read := range readByLibrary {
			if name != read && strings.EqualFold(name, read) {
				return nil, fmt.Errorf("the claim %s is there in another case", read)
			}
		}
	}
	return said, nil
}

// readByLibrary are the claims that the library reads by itself, without regard to case.
var readByLibrary = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "at_hash"}

// find returns a claim by its name or, where none has it, by a path with dots:
// realm_access.roles.
func (c claims) find(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if inner, is := c[first].(map[string]any); ok && is {
		return claims(inner).find(rest)
	}
	return nil
}

// texts returns a claim that is a text or a list of them.
func (c claims) texts(name string) (all []string) {
	switch v := c.find(name).(type) {
	case string:
		all = []string{v}
	case []any:
		for _, one := range v {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" || len(s) > longestClaim })
	return all[:min(len(all), mostGroups)]
}
