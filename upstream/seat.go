package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// seatOf returns the value of a sticky cookie that names an instance: the same
// on every serai, and telling nothing of its address or allocation. An
// allocation's ID is random and known to no client, so it serves as the key;
// an operator's secret is added where there is one.
func seatOf(secret []byte, cookie string, t *Target) string {
	key := append(append([]byte{}, secret...), t.Instance...)
	h := hmac.New(sha256.New, key)
	h.Write([]byte("serai seat\x00" + cookie + "\x00" + t.Address))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// seat gives every member its cookie value.
func (p *spread) seat(secret []byte) {
	if p.options.Sticky == "" {
		return
	}
	p.seats = make(map[string]*Member, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		m.Seat = seatOf(secret, p.options.Sticky, &m.Endpoint.target)
		if m.Weight > 0 {
			p.seats[m.Seat] = m
		}
	}
}

// seated returns the member that the request's cookie names, if it may take
// the request.
func (p *Pool) seated(s *search) *Member {
	if p.seats == nil {
		return nil
	}
	if m := p.seats[string(s.a.Cookie(p.options.Sticky))]; m != nil && m.fit(s) {
		return m
	}
	return nil
}

// SeatFor returns the cookie that keeps a client on m: its name and value. It
// returns nothing when the request carries it already, or the route is not
// sticky.
func (p *Pool) SeatFor(a Attributes, m *Member) (name, value string) {
	if p.seats == nil || string(a.Cookie(p.options.Sticky)) == m.Seat {
		return "", ""
	}
	return p.options.Sticky, m.Seat
}

// coldest is the least share of a member that has just become ready.
const coldest = 0.1

// warmth is the share of its weight that a member gets at now: it grows over
// the registry's SlowStart from when the instance became ready, so that one
// that has to warm up first is not given a full load at once.
func (m *Member) warmth(now time.Time) float64 {
	e := m.Endpoint
	over := e.registry.options.SlowStart
	age := time.Duration(now.UnixNano() - e.since.Load())
	if age >= over {
		return 1
	}
	return max(coldest, float64(age)/float64(over))
}
