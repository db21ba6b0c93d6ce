package policy

import "reflect"

// OfRoute is the policy configuration of a route, for all its instances. The zero value
// has none.
type OfRoute struct {
	// Closed says that a guard of the route is refused, so that it must not serve.
	Closed bool
	// Allow are the clients that are let through, nil for all; Deny those that are not,
	// nil for none.
	Allow, Deny *Addresses
	// Rate bounds the requests, nil for no bound.
	Rate *Rate
	// CORS says which other origins may read answers, nil for no say.
	CORS *CORS
	// Redirect answers instead of the instances, nil for none.
	Redirect *Redirect
	// HSTS is the Strict-Transport-Security value, empty for none.
	HSTS string
	// Sticky is the name of the sticky cookie, empty for none.
	Sticky string
}

// ForRoute compiles the policies of a route, in the order in which they are applied;
// nil for none. What the policies learn is kept in s.
func ForRoute(o *OfRoute, s *State) *List {
	return newList(
		compileClosed(o),
		compileAddresses(o),
		compileRate(o, s),
		compileCORS(o),
		compileRedirect(o),
		compileHSTS(o),
		compileSticky(o),
	)
}

// OfInstance is the policy configuration of one instance, for the requests that it
// gets: during a deploy, old and new instances may differ.
type OfInstance struct {
	// Strip is the prefix removed from the path, empty for none.
	Strip string
}

// ForInstance compiles the policies of an instance, which are only applied when a
// request is forwarded, before the policies of the route; nil for none.
func ForInstance(o *OfInstance) *List {
	return newList(
		compileStrip(o),
	)
}

// List is the policies of a route or an instance. Never modified. A nil List has
// none, and costs a request one comparison in each phase.
type List struct {
	all     []Policy
	request []RequestPolicy
	forward []ForwardPolicy
	answer  []AnswerPolicy
}

// newList makes a List of the policies that are not nil; nil when there is none.
func newList(all ...Policy) *List {
	l := &List{}
	for _, p := range all {
		if p == nil {
			continue
		}
		l.all = append(l.all, p)
		if p, ok := p.(RequestPolicy); ok {
			l.request = append(l.request, p)
		}
		if p, ok := p.(ForwardPolicy); ok {
			l.forward = append(l.forward, p)
		}
		if p, ok := p.(AnswerPolicy); ok {
			l.answer = append(l.answer, p)
		}
	}
	if len(l.all) == 0 {
		return nil
	}
	return l
}

// MayAnswer reports whether some policy may answer a request itself, so that Request
// must be called before the request goes on.
func (l *List) MayAnswer() bool { return l != nil && len(l.request) > 0 }

// AnswersAs reports whether the phase before an instance is picked is the same as that of
// another list, so that a request has passed both when it has passed one.
func (l *List) AnswersAs(o *List) bool {
	if l == o || !l.MayAnswer() {
		return true
	}
	return o != nil && reflect.DeepEqual(l.request, o.request)
}

// Request runs the phase before an instance is picked, until a policy answers.
func (l *List) Request(r Request, reply *Reply) (answered bool) {
	if l == nil {
		return false
	}
	for _, p := range l.request {
		if p.Request(r, reply) {
			return true
		}
	}
	return false
}

// Forward runs the phase before the request is sent.
func (l *List) Forward(f *Forward) {
	if l == nil {
		return
	}
	for _, p := range l.forward {
		p.Forward(f)
	}
}

// Answer runs the phase of the answer.
func (l *List) Answer(a *Answer) {
	if l == nil {
		return
	}
	for _, p := range l.answer {
		p.Answer(a)
	}
}
