package policy

import "serai/wire"

// ErrGuardRefused is the answer of a route whose tags ask for a guard, such as allow, and
// are refused.
var ErrGuardRefused = &wire.Error{Status: 503, Code: "guard-refused", Detail: "an access rule (guard) of this route, or of one beside it, has tags that are refused, so the route is closed"}

// closed answers every request of a route whose guard is not known. Without it, a route
// with a shorter path would take them, perhaps to the same instance, and without a guard.
type closed struct{}

var _ RequestPolicy = closed{}

func compileClosed(o *OfRoute) Policy {
	if !o.Closed {
		return nil
	}
	return closed{}
}

// Request implements RequestPolicy.
func (closed) Request(_ Request, reply *Reply) (answered bool) {
	reply.refuse(ErrGuardRefused)
	return true
}

// Explain implements Policy.
func (closed) Explain() string {
	return "closed: every request is answered 503, since a guard of the route, or of one beside it, is refused: see the rejections of its service"
}
