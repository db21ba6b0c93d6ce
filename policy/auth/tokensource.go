package auth

import (
	"bytes"
	"errors"
	"strings"

	"serai/wire"
)

// tokenSource is where a request has its token: in Authorization, unless it is in another
// field or in a cookie. There is one place: where two could disagree, the instance might
// look at the other. It is never in the query (RFC 6750 section 2.3), which logs have.
type tokenSource struct{ header, cookie string }

// newTokenSource makes one of the names, of which at most one is not empty.
func newTokenSource(header, cookie string) (s tokenSource, err error) {
	switch {
	case header != "" && cookie != "":
		return s, errors.New("header and cookie: the token is in one place")
	case strings.EqualFold(header, "authorization"):
		return s, nil
	case header != "":
		if err := Settable(header); err != nil {
			return s, err
		}
	case cookie != "" && !wire.IsToken(cookie):
		return s, errors.New("cookie is not the name of a cookie")
	}
	return tokenSource{header, cookie}, nil
}

// field is the name of the field that has the token.
func (s tokenSource) field() string {
	switch {
	case s.header != "":
		return s.header
	case s.cookie != "":
		return "Cookie"
	}
	return "Authorization"
}

// find returns the token of a request. The outcome is tokenVerified when there is one.
func (s tokenSource) find(fields []wire.Field) (token []byte, o outcome) {
	if s.cookie != "" {
		return s.inCookies(fields)
	}
	name := s.field()
	for i := range fields {
		f := &fields[i]
		if !wire.Resembles(f.Name, name) {
			continue
		}
		if token != nil {
			return nil, tokenTwice
		}
		if token = f.Value; token == nil {
			token = []byte{}
		}
	}
	scheme, rest, found := bytes.Cut(token, []byte{' '})
	switch {
	case found && wire.EqualFold(scheme, "bearer"):
		token = bytes.Trim(rest, " ")
	case s.header == "": // another scheme, or none: this one is not known to the client
		return nil, tokenMissing
	}
	if len(token) == 0 {
		return nil, tokenMissing
	}
	return token, tokenVerified
}

// inCookies finds the token among the cookies.
func (s tokenSource) inCookies(fields []wire.Field) (token []byte, o outcome) {
	for name, value := range wire.Cookies(fields) {
		switch {
		case string(name) != s.cookie:
		case token != nil: // another page of the domain may have set one of them
			return nil, tokenTwice
		default:
			token = value[:len(value):len(value)]
		}
	}
	if len(token) == 0 {
		return nil, tokenMissing
	}
	return token, tokenVerified
}
