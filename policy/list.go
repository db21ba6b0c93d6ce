package policy

import "serai/wire"

// OfRoute is the policy configuration of a route, for all its instances. The zero value
// has none.
type OfRoute struct {
	// Redirect answers instead of the instances, nil for none.
	Redirect *Redirect
	// HSTS is the Strict-Transport-Security value, empty for none.
	HSTS string
	// Sticky is the name of the sticky cookie, empty for none.
	Sticky string
	// SameSite says with which requests browsers send it.
	SameSite SameSite
	// RequestSet and RequestRemove change the fields of requests, ResponseSet and
	// ResponseRemove those of answers. No name is in both of a message.
	RequestSet, ResponseSet       []FieldSetting
	RequestRemove, ResponseRemove []string
	// NoAccessLog keeps requests out of the access log.
	NoAccessLog bool
}

// ForRoute compiles the policies of a route, in the order in which they are applied;
// nil for none. What the policies learn is kept in s.
func ForRoute(o *OfRoute, _ *State) *List {
	return newList(
		compileRedirect(o),
		compileFieldRemoval(RequestMessage, o.RequestRemove),
		compileFieldSettings(RequestMessage, o.RequestSet),
		compileFieldRemoval(AnswerMessage, o.ResponseRemove),
		compileFieldSettings(AnswerMessage, o.ResponseSet),
		compileHSTS(o),
		compileSticky(o),
		compileAccessLog(o),
	)
}

// OfInstance is the policy configuration of one instance, for the requests that it
// gets: during a deploy, old and new instances may differ.
type OfInstance struct {
	// Strip is the prefix removed from the path, empty for none.
	Strip string
	// Rewrite is applied to what Strip leaves, nil for none.
	Rewrite *Rewrite
	// Prepend is put before the path that these leave, empty for none.
	Prepend string
}

// ForInstance compiles the policies of an instance, which are only applied when a
// request is forwarded, before the policies of the route; nil for none.
func ForInstance(o *OfInstance) *List {
	return newList(
		compileStrip(o),
		compileRewrite(o),
		compilePrepend(o),
	)
}

// List is the policies of a route or an instance. Never modified. A nil List has
// none, and costs a request one comparison in each phase.
type List struct {
	all     []Policy
	request []RequestPolicy
	forward []ForwardPolicy
	answer  []AnswerPolicy
	trailer []TrailerPolicy
	// unlogged says that one of them is against lines in the access log.
	unlogged bool
}

// newList makes a List of the policies that are not nil; nil when there is none.
func newList(all ...Policy) *List {
	l := &List{}
	for _, p := range all {
		if p == nil {
			continue
		}
		l.all = append(l.all, p)
		if _, ok := p.(accessLog); ok {
			l.unlogged = true
		}
		if p, ok := p.(RequestPolicy); ok {
			l.request = append(l.request, p)
		}
		if p, ok := p.(ForwardPolicy); ok {
			l.forward = append(l.forward, p)
		}
		if p, ok := p.(AnswerPolicy); ok {
			l.answer = append(l.answer, p)
		}
		if p, ok := p.(TrailerPolicy); ok {
			l.trailer = append(l.trailer, p)
		}
	}
	if len(l.all) == 0 {
		return nil
	}
	return l
}

// Unlogged reports whether the requests get no lines in the access log.
func (l *List) Unlogged() bool { return l != nil && l.unlogged }

// MayAnswer reports whether some policy may answer a request itself, so that Request
// must be called before the request goes on.
func (l *List) MayAnswer() bool { return l != nil && len(l.request) > 0 }

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

// Forward runs the phase before the request is sent, until a policy refuses it.
func (l *List) Forward(f *Forward) {
	if l == nil {
		return
	}
	for _, p := range l.forward {
		if f.refused != "" {
			return
		}
		p.Forward(f)
	}
}

// Trailers runs the phase of the trailers.
func (l *List) Trailers(m Message, fields []wire.Field) {
	if l == nil {
		return
	}
	for _, p := range l.trailer {
		p.Trailers(m, fields)
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
