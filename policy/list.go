package policy

import (
	"slices"

	"serai/internal/coding"
	"serai/wire"
)

// OfRoute is the policy configuration of a route, for all its instances. The zero value
// has none.
type OfRoute struct {
	// Closed says that a guard of the route, or of one beside it, is refused, so that it must not serve.
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
	// Auth is the name of an auth of the operator's file, Policies are names of its
	// policies: see Catalog.Layers.
	Auth     string
	Policies []string
	// SameSite says with which requests browsers send it.
	SameSite SameSite
	// RequestSet and RequestRemove change the fields of requests, ResponseSet and
	// ResponseRemove those of answers. No name is in both of a message.
	RequestSet, ResponseSet       []FieldSetting
	RequestRemove, ResponseRemove []string
	// Errors has pages for answers with errors, nil for none.
	Errors *Errors
	// NoAccessLog keeps requests out of the access log, NoTrace out of traces.
	NoAccessLog, NoTrace bool
	// Compress are the codings in which answers are sent to clients that take them, what is
	// preferred first; none for as they come.
	Compress []coding.Coding
}

// Guards reports whether it keeps requests away, by itself: see List.Guards.
func (o *OfRoute) Guards() bool {
	return o.Closed || o.Allow != nil || o.Deny != nil || o.Rate != nil || o.Auth != ""
}

// ForRoute compiles what a route's own tags ask for, as RouteLayers does.
func ForRoute(o *OfRoute, s *State) *List { return RouteLayers([]Layer{{Route: o}}, s) }

// RouteLayers compiles the policies of a route's layers, in the order in which they are
// applied; nil for none. What the policies learn is kept in s.
//
// It runs for each route whenever the route changes, and a named policy may have ten
// thousand routes: what is large in an OfRoute (a list of networks, a regular
// expression) is made when its tag is parsed, and only referred to here.
func RouteLayers(layers []Layer, s *State) *List {
	return inOrder(layers, func(l *Layer) []Policy {
		o, s := l.Route, l.state(s)
		return []Policy{
			compileClosed(o),
			compileAddresses(o),
			compileRate(o, s),
			compileCORS(o),
			compileToHTTPS(o), // no password is asked for over plain HTTP where https is demanded
			compileAuth(l),
			compileRedirect(o),
			compileFieldRemoval(RequestMessage, o.RequestRemove),
			compileFieldSettings(RequestMessage, o.RequestSet),
			compileFieldRemoval(AnswerMessage, o.ResponseRemove),
			compileFieldSettings(AnswerMessage, o.ResponseSet),
			compileErrors(o),
			compileHSTS(o),
			compileSticky(o),
			compileAccessLog(o),
			compileTrace(o),
			compileCompress(o, s), // last: it describes the body as it is sent
		}
	})
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

// ForInstance compiles what an instance's own tags ask for, as InstanceLayers does.
func ForInstance(o *OfInstance) *List { return InstanceLayers([]Layer{{Instance: o}}) }

// InstanceLayers compiles the policies of an instance, which are only applied when a
// request is forwarded, before the policies of the route; nil for none.
func InstanceLayers(layers []Layer) *List {
	return inOrder(layers, func(l *Layer) []Policy {
		o := l.Instance
		return []Policy{
			compileStrip(o),
			compileRewrite(o),
			compilePrepend(o),
		}
	})
}

// inOrder makes a List of the policies of several layers: of each kind of policy those
// of all layers, before the next kind. Compile returns the policies of one layer, nil
// where it has none of a kind.
func inOrder(layers []Layer, compile func(*Layer) []Policy) *List {
	all := make([][]Policy, len(layers))
	for i := range layers {
		all[i] = compile(&layers[i])
	}
	l := &List{}
	for kind := range all[0] {
		for i := range layers {
			l.add(all[i][kind], layers[i].String())
		}
	}
	if len(l.all) == 0 {
		return nil
	}
	return l
}

// List is the policies of a route or an instance. Never modified. A nil List has
// none, and costs a request one comparison in each phase.
type List struct {
	all     []Policy
	from    []string // where each of them comes from, empty for the tags
	request []RequestPolicy
	forward []ForwardPolicy
	answer  []AnswerPolicy
	trailer []TrailerPolicy
	owned   []Names // of all Owners
	// answering are the paths of all Answerers.
	answering []answeredPath
	// unlogged says that one of them is against lines in the access log, untraced that one
	// is against traces.
	unlogged, untraced bool
	guards             []any   // what keeps requests away, to compare
	rates              int     // how many of them are rates
	errors             *Errors // nil for none
}

// add adds a policy that is not nil.
func (l *List) add(p Policy, from string) {
	if p == nil {
		return
	}
	l.all, l.from = append(l.all, p), append(l.from, from)
	if p, ok := p.(RequestPolicy); ok {
		l.request = append(l.request, p)
		switch p := p.(type) {
		case *redirect, *cors:
		case *rate:
			p.setPlace(l.rates)
			l.rates++
			l.guards = append(l.guards, p.Rate)
		default:
			l.guards = append(l.guards, p)
		}
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
	switch p := p.(type) {
	case accessLog:
		l.unlogged = true
	case noTrace:
		l.untraced = true
	case errorPages:
		l.errors = p.Errors
	}
	if p, ok := p.(Owner); ok {
		l.owned = append(l.owned, p.Owns())
	}
	if p, ok := p.(Answerer); ok {
		for _, path := range p.Answers() {
			l.answering = append(l.answering, answeredPath{path, p})
		}
	}
}

// Untraced reports whether the requests are not traced.
func (l *List) Untraced() bool { return l != nil && l.untraced }

// Unlogged reports whether the requests get no lines in the access log.
func (l *List) Unlogged() bool { return l != nil && l.unlogged }

// MayAnswer reports whether some policy may answer a request itself, so that Request
// must be called before the request goes on.
func (l *List) MayAnswer() bool { return l != nil && len(l.request) > 0 }

// Guards reports whether some policy keeps requests away: all that may answer but those
// that redirect, and CORS, which is about browsers.
func (l *List) Guards() bool { return l != nil && len(l.guards) > 0 }

// SameGuards reports whether what passes the guards of l passes those of o. It is only
// said of lists with equal guards.
func (l *List) SameGuards(o *List) bool {
	return l != nil && slices.EqualFunc(l.guards, o.guards, sameGuard)
}

func sameGuard(a, b any) bool {
	if p, ok := a.(*addresses); ok {
		q, ok := b.(*addresses)
		return ok && p.allow.equal(q.allow) && p.deny.equal(q.deny)
	}
	return a == b
}

// Request runs the phase before an instance is picked, until a policy answers.
func (l *List) Request(r Request, reply *Reply) (answered bool) {
	if l == nil {
		return false
	}
	if len(l.answering) > 0 {
		if p := l.Answering(r.Received().Path); p != nil {
			return p.Request(r, reply)
		}
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
	l.forwardLearned(f)
	for _, p := range l.forward {
		if f.refused != "" {
			return
		}
		p.Forward(f)
	}
}

// Trailers runs the phase of the trailers. Those of a request lose what only an Owner
// may set.
func (l *List) Trailers(m Message, fields []wire.Field) {
	if l == nil {
		return
	}
	if m == RequestMessage && len(l.owned) > 0 {
		for i := range fields {
			if l.Owns(fields[i].Name) {
				fields[i].Kind = wire.Dropped
			}
		}
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
	l.answerLearned(a) // last: no field that a tag sets or removes ends or publishes a session
}
