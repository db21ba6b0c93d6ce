package policy

// OfRoute is what tags ask for about a route's requests, whichever instance they go
// to. The zero value asks for nothing.
type OfRoute struct {
	// Redirect answers instead of the instances, nil for none.
	Redirect *Redirect
	// HSTS is the Strict-Transport-Security value, empty for none.
	HSTS string
	// Sticky is the name of the cookie that names the instance, empty for none.
	Sticky string
}

// ForRoute compiles what a route asks for, in the order that it is applied; nil for
// nothing. What the policies learn is kept in s.
func ForRoute(o *OfRoute, _ *State) *List {
	return newList(
		compileRedirect(o),
		compileHSTS(o),
		compileSticky(o),
	)
}

// OfInstance is what the tags of one instance ask for about the requests that go to
// it: while a job is deployed, its old and its new instances may differ.
type OfInstance struct {
	// Strip is the prefix removed from the path, empty for none.
	Strip string
}

// ForInstance compiles what an instance asks for, which is only applied as a
// request is forwarded, before the policies of the route; nil for nothing.
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

// newList makes a List of those that are not nil; nil when there is none.
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

// MayAnswer reports whether some policy may answer a request itself, and must be
// asked before the request goes on.
func (l *List) MayAnswer() bool { return l != nil && len(l.request) > 0 }

// Request runs the phase before an instance is picked, up to the first policy that
// answers.
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

// Forward runs the phase in which the request is about to be sent.
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
