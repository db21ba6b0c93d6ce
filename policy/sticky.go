package policy

import "serai/wire"

// sticky gives the client the cookie that keeps it on the instance that has answered,
// unless it has it already. The pool reads the cookie when it picks.
type sticky struct {
	name     string
	sameSite SameSite
}

// SameSite says with which requests of other sites a browser sends a cookie (RFC 6265bis
// section 5.6.7).
type SameSite uint8

// The values of the attribute.
const (
	SameSiteLax    SameSite = iota // where the user follows a link
	SameSiteStrict                 // with none
	SameSiteNone                   // with all, such as those of an app in a frame
)

var _ AnswerPolicy = (*sticky)(nil)

func compileSticky(o *OfRoute) Policy {
	if o.Sticky == "" {
		return nil
	}
	return &sticky{o.Sticky, o.SameSite}
}

var nameSetCookie = []byte("Set-Cookie")

// Answer implements AnswerPolicy. An answer of serai itself sets no cookie, because it
// often means that the instance has failed.
func (p *sticky) Answer(a *Answer) {
	if a.Own {
		return
	}
	name, value := a.Request.StickyCookie()
	if value == "" {
		return
	}
	cookie := append(a.Values.Start(), name...)
	cookie = append(cookie, '=')
	cookie = append(cookie, value...)
	cookie = append(cookie, "; Path=/; HttpOnly; SameSite="...)
	https := a.Request.OverHTTPS()
	cookie = append(cookie, p.sameSite.over(https)...)
	if https {
		cookie = append(cookie, "; Secure"...)
	}
	a.Add(wire.Field{Name: nameSetCookie, Value: a.Values.Keep(cookie)})
}

// over returns the attribute's value. Browsers refuse a cookie of SameSite=None that is
// not Secure, and none is over plain HTTP.
func (s SameSite) over(https bool) string {
	switch {
	case s == SameSiteStrict:
		return "Strict"
	case s == SameSiteNone && https:
		return "None"
	}
	return "Lax"
}

// Explain implements Policy.
func (p *sticky) Explain() string {
	line := "sticky: the cookie " + p.name + " keeps a client on the instance that answered it"
	switch p.sameSite {
	case SameSiteStrict:
		line += "; browsers send it with no request that another site makes (SameSite=Strict)"
	case SameSiteNone:
		line += "; over https browsers send it with requests that other sites make, too (SameSite=None)"
	}
	return line
}
