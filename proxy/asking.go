package proxy

import (
	"slices"
	"time"

	"serai/policy"
	"serai/wire"
)

// asking is what an exchange keeps for policies that send requests of their own before
// an instance is picked.
type asking struct {
	learned policy.Learned
	maxHops int
	asked   time.Duration // time spent in Wait
}

func (a *asking) reset() {
	a.learned.Reset()
	a.maxHops, a.asked = 0, 0
}

// Learned implements policy.Request.
func (x *Exchange) Learned() *policy.Learned { return &x.learned }

// Wait implements policy.Asking.
func (x *Exchange) Wait(f func(gone <-chan struct{})) {
	began := x.Now
	x.waiting.Set(began)
	f(x.whenGone())
	x.waiting.Clear()
	x.Now = time.Now()
	x.asked += x.Now.Sub(began)
	x.waited(WaitPolicy, began)
}

// AppendForwarded implements policy.Asking.
func (x *Exchange) AppendForwarded(dst []wire.Field) []wire.Field {
	if !x.prepared {
		x.prepare()
	}
	sent := x.appendSent(dst)
	kept := slices.DeleteFunc(sent[len(dst):], func(f wire.Field) bool { return x.Route.Policies.Owns(f.Name) })
	return x.appendMade(sent[:len(dst)+len(kept)], nil)
}

// Looped implements policy.Asking.
func (x *Exchange) Looped() bool { return x.hops >= x.maxHops }

// FromTrusted implements policy.Asking.
func (x *Exchange) FromTrusted() bool { return x.trusted != nil }
