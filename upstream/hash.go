package upstream

import (
	"math"
)

// hashed assigns a member to each key that it finds in requests.
type hashed struct {
	key  func(a Attributes, name string) []byte
	name string
}

func newHashIP([]*Member, string, int) balancer {
	return &hashed{key: func(a Attributes, _ string) []byte { return a.ClientIP() }}
}

func newHashHeader(_ []*Member, name string, _ int) balancer {
	return &hashed{Attributes.Header, name}
}

func newHashCookie(_ []*Member, name string, _ int) balancer {
	return &hashed{func(a Attributes, name string) []byte { return a.Cookie(name, 0) }, name}
}

// pick returns the available member with the highest score for the request's key, so
// that a member that comes or goes moves only its own share of the keys (rendezvous
// hashing). Without a key it draws.
func (h *hashed) pick(g *group, s search) *Member {
	key := h.key(s.a, h.name)
	if len(key) == 0 {
		return g.draw(&s)
	}
	sum := hashBytes(key)
	var best *Member
	highest := math.Inf(-1)
	for _, m := range g.members {
		if !m.fit(&s) {
			continue
		}
		// A uniform number in (0,1) to the power of 1/weight; its logarithm is
		// compared.
		u := (float64(mix(sum^m.Endpoint.hash)>>11) + 0.5) / (1 << 53)
		if score := math.Log(u) / float64(m.Weight); score > highest {
			best, highest = m, score
		}
	}
	return best
}

// hashBytes is FNV-1a, the same on every serai.
func hashBytes(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}
