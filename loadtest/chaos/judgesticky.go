package chaos

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
)

// judgeSticky checks the cookies of sticky services. Each instance has one value, which
// does not reveal its address. An answer sets it unless the client has it. A client
// that returns it gets that instance as long as it is ready.
func (e *episode) judgeSticky() {
	if e.died {
		return
	}
	for _, s := range e.Services {
		if r := e.cluster.rules[s.Name]; r.sticky != "" && !r.refused && s.Flavour != Self {
			e.judgeCookies(s, r)
		}
	}
}

// cookies are the values of a service's instances, as its answers gave them.
type cookies struct {
	name  string
	rules *rules
	value map[string]string // by instance
	of    map[string]string // instance by value
}

func (e *episode) judgeCookies(s *Service, r *rules) {
	name := r.sticky
	c := cookies{name: name, rules: r, value: make(map[string]string), of: make(map[string]string)}
	all := e.ordered(s)
	for _, o := range all {
		e.learnCookie(&c, o)
	}
	for _, o := range all {
		if o.status == 0 || o.instance == "" || o.reason != "" {
			continue
		}
		has, gives := o.sentCookie(name), o.givenCookie(name)
		switch value := c.value[o.instance]; {
		case gives == "" && (value == "" || has != value):
			e.ledger.find("sticky", o.request.Name, "the answer of %s brings no cookie to a client that has %q", o.instance, has)
		case gives != "" && has == value:
			e.ledger.find("sticky", o.request.Name, "the answer of %s brings the cookie that the client has", o.instance)
		}
		e.judgeStay(s, &c, o, has)
	}
}

// learnCookie records the cookie that an answer sets, and checks it.
func (e *episode) learnCookie(c *cookies, o *outcome) {
	value := o.givenCookie(c.name)
	if value == "" {
		return
	}
	find := func(format string, args ...any) { e.ledger.find("sticky", o.request.Name, format, args...) }
	if o.reason != "" {
		find("an answer of serai's own (%s) gives a cookie", o.reason)
		return
	}
	if old := c.value[o.instance]; old != "" && old != value {
		find("%s gives %s, and gave %s before", o.instance, value, old)
	}
	if old := c.of[value]; old != "" && old != o.instance {
		find("%s and %s give the same cookie", o.instance, old)
	}
	c.value[o.instance], c.of[value] = value, o.instance
	sameSite := "Lax"
	switch {
	case c.rules.sameSite == "strict":
		sameSite = "Strict"
	case c.rules.sameSite == "none" && o.client.TLS:
		sameSite = "None"
	}
	want := c.name + "=" + value + "; Path=/; HttpOnly; SameSite=" + sameSite
	if o.client.TLS {
		want += "; Secure"
	}
	if got := o.headFields.get("Set-Cookie"); got != want {
		find("Set-Cookie is %q, want %q", got, want)
	}
	if i := e.cluster.named(o.instance); i != nil && tells(value, i) {
		find("the cookie %q tells the address or the allocation of %s (%s)", value, i.name, i.address())
	}
}

// tells reports whether a cookie's value contains the address of an instance, as text
// or as bytes, plain or encoded.
func tells(value string, i *instance) bool {
	at := netip.MustParseAddrPort(i.address())
	ip, port := at.Addr().AsSlice(), at.Port()
	texts := [][]byte{[]byte(i.name), []byte(at.String()), []byte(at.Addr().String()), append(slices.Clone(ip), byte(port>>8), byte(port)), ip}
	forms := [][]byte{[]byte(value)}
	for _, coding := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.StdEncoding} {
		if b, err := coding.DecodeString(value); err == nil {
			forms = append(forms, b)
		}
	}
	for _, form := range forms {
		if slices.ContainsFunc(texts, func(text []byte) bool { return bytes.Contains(form, text) }) {
			return true
		}
	}
	return false
}

// judgeStay checks whether a request came to the instance that its cookie names.
func (e *episode) judgeStay(s *Service, c *cookies, o *outcome, has string) {
	named, all := c.of[has], e.ledger.arrivals[o.request]
	if named == "" || len(all) == 0 || all[0].instance.name == named || e.lax() || !e.staysJudged(s) {
		return
	}
	from, until := o.began, all[0].at
	if i := e.cluster.named(named); i != nil && i.there(until) && e.looks.was(s.Name, named, from, until) {
		e.ledger.find("sticky", o.request.Name, "it has the cookie of %s, which was ready, and came to %s", named, all[0].instance.name)
	}
}

// staysJudged reports whether nothing but readiness moves a client of a service: no
// limit, no canary, no connection that ends with a request on it which no
// instance has read.
func (e *episode) staysJudged(s *Service) bool {
	for _, own := range s.Own {
		if slices.ContainsFunc(own, func(tag string) bool { return strings.Contains(tag, "canary") || strings.Contains(tag, "weight=0") }) {
			return false
		}
	}
	return s.Flavour != Hurt && s.IdleClose == 0 && e.cluster.rules[s.Name].maxInflight == 0
}

// sentCookie is the value of a cookie that the client sent, empty for none.
func (o *outcome) sentCookie(name string) string {
	if value, ok := strings.CutPrefix(o.cookie, name+"="); ok {
		return value
	}
	for _, f := range o.request.Fields {
		if list, ok := strings.CutPrefix(f, "Cookie: "); ok {
			for pair := range strings.SplitSeq(list, "; ") {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
		}
	}
	return ""
}

// givenCookie is the value of a cookie that the answer gives, empty for none.
func (o *outcome) givenCookie(name string) string {
	if o.headFields == nil {
		return ""
	}
	pair, _, _ := strings.Cut(o.headFields.get("Set-Cookie"), ";")
	value, _ := strings.CutPrefix(pair, name+"=")
	return value
}
