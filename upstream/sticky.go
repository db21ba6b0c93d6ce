package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// stickyValue returns the value of a sticky cookie for an instance: the same in every
// serai, and revealing neither its address nor its allocation. An allocation's ID is
// random and known to no client, so it serves as the key; an operator's secret is added
// if there is one.
func stickyValue(secret []byte, cookie string, t *Target) string {
	key := append(append([]byte{}, secret...), t.Instance...)
	h := hmac.New(sha256.New, key)
	h.Write([]byte("serai seat\x00" + cookie + "\x00" + t.Address))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// nameSticky gives every member its cookie value.
func (p *spread) nameSticky(secret []byte) {
	if p.options.Sticky == "" {
		return
	}
	p.cookies, p.byCookie = make(map[*Member]string, len(p.members)), make(map[string]*Member, len(p.members))
	for _, m := range p.members {
		value := stickyValue(secret, p.options.Sticky, &m.Endpoint.target)
		p.cookies[m] = value
		if m.Weight > 0 {
			p.byCookie[value] = m
		}
	}
}

// sticky returns the member that the request's cookie selects, if it may take the
// request.
func (p *Pool) sticky(s *search) *Member {
	if p.byCookie == nil {
		return nil
	}
	for nth := range mostCookies {
		value := s.a.Cookie(p.options.Sticky, nth)
		if value == nil {
			break
		}
		if m := p.byCookie[string(value)]; m != nil && m.fit(s) {
			return m
		}
	}
	return nil
}

// mostCookies is how many cookies of one name are examined: others may have set some
// for other paths, or for the parent domain.
const mostCookies = 8

// hasCookie reports whether one of the request's cookies of that name has that value.
func hasCookie(a Attributes, name, value string) bool {
	for nth := range mostCookies {
		v := a.Cookie(name, nth)
		if v == nil {
			break
		}
		if string(v) == value {
			return true
		}
	}
	return false
}

// sticks reports whether a cookie of the request selects m.
func (p *Pool) sticks(a Attributes, m *Member) bool {
	value, ok := p.cookies[m]
	return ok && p.byCookie[value] == m && hasCookie(a, p.options.Sticky, value)
}

// StickyCookie returns the cookie that keeps a client on m: its name and value. Both
// are empty when the request has it already, or the route is not sticky. A request that
// waited may have been given a member that came after p was built.
func (p *Pool) StickyCookie(a Attributes, m *Member) (name, value string) {
	if p.byCookie == nil {
		return "", ""
	}
	value, ok := p.cookies[m]
	if !ok {
		value = stickyValue(p.room.registry.options.StickyKey, p.options.Sticky, &m.Endpoint.target)
	}
	if hasCookie(a, p.options.Sticky, value) {
		return "", ""
	}
	return p.options.Sticky, value
}
