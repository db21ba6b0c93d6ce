package upstream

import (
	"math/rand/v2"
	"time"
)

// least draws two members by weight. The first one takes the request, unless it has
// more than its share of the requests in flight on both, or is much slower.
type least struct{}

func newLeast([]*Member, string, int) balancer { return least{} }

func (least) pick(g *group, s search) *Member {
	i := g.drawIndex(&s)
	if i < 0 {
		return nil
	}
	a, b := g.members[i], g.another(&s, i)
	if b == nil {
		return a
	}
	if busier(s.now, a, b) {
		a, b = b, a
	}
	if p := slower(s.now, a, b); p > 0 && rand.Float64() < p {
		return b
	}
	return a
}

// busier reports whether a has more than its share of what a and b have in flight.
// Between unequal weights, one request more or less is no difference: otherwise a
// member with a tenth of the weight would get nothing when there is a single client.
func busier(now time.Time, a, b *Member) bool {
	ofA, ofB := float64(a.Endpoint.Inflight()), float64(b.Endpoint.Inflight())
	warmA, warmB := a.warmth(now), b.warmth(now)
	if a.Weight == b.Weight && warmA < warmB*together && warmB < warmA*together {
		return ofA > ofB
	}
	const slack = 2 // requests
	weightA, weightB := float64(a.Weight)*warmA, float64(b.Weight)*warmB
	return ofA > (ofA+ofB)*weightA/(weightA+weightB)+slack
}

// slower returns how often b is chosen instead of a because a is slow: more than twice
// as slow as b, by more than noise, and not because it has more in flight. It is less
// than always, so that a better time becomes known.
func slower(now time.Time, a, b *Member) float64 {
	const (
		much  = 2
		noise = time.Millisecond
	)
	ofA, ofB := a.Endpoint.latency.value(now), b.Endpoint.latency.value(now)
	if ofA == 0 || ofB == 0 || ofA-ofB <= noise {
		return 0
	}
	ratio := float64(ofA) / float64(ofB)
	each := ratio * float64(b.Endpoint.Inflight()+1) / float64(a.Endpoint.Inflight()+1)
	if ratio <= much || each <= much {
		return 0
	}
	return 1 - much/ratio
}
