package policy

import "serai/wire"

// sticky gives the client the cookie that keeps it on the instance that has answered,
// unless it has it already. The pool reads the cookie when it picks.
type sticky struct{ name string }

var _ AnswerPolicy = (*sticky)(nil)

func compileSticky(o *OfRoute) Policy {
	if o.Sticky == "" {
		return nil
	}
	return &sticky{o.Sticky}
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
	cookie = append(cookie, "; Path=/; HttpOnly; SameSite=Lax"...)
	if a.Request.OverHTTPS() {
		cookie = append(cookie, "; Secure"...)
	}
	a.Add(wire.Field{Name: nameSetCookie, Value: a.Values.Keep(cookie)})
}

// Explain implements Policy.
func (p *sticky) Explain() string {
	return "sticky: the cookie " + p.name + " keeps a client on the instance that answered it"
}
