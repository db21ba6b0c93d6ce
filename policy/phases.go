package policy

import (
	"bytes"
	"net/netip"

	"serai/internal/memory"
	"serai/wire"
)

// Policy is a compiled policy. Never modified. Most take part in a phase or several;
// one that does not is read by the proxy where it belongs.
type Policy interface {
	// Explain describes it in a line: its tag's name, a colon, plain words.
	Explain() string
}

// Request gives policies access to a request. What it returns is valid until the phase
// ends.
type Request interface {
	// Received is the head as the client sent it. It must not be modified.
	Received() *wire.RequestHead
	// AppendHost appends the requested host in the form in which routes are looked up:
	// lower case, without port and trailing dot.
	AppendHost(dst []byte) []byte
	// OverHTTPS reports whether the client uses https, to serai or to a trusted proxy
	// in front of it.
	OverHTTPS() bool
	// ClientAddr is the client's address, behind trusted proxies: never IPv4-mapped, and
	// without a zone. It is not valid when it is not known.
	ClientAddr() netip.Addr
	// AppendPlaceholder appends what p stands for, as it came, nothing where that is not
	// known.
	AppendPlaceholder(dst []byte, p Placeholder) []byte
	// StickyCookie returns the cookie that keeps the client on the instance that got
	// its request, empty when the client has it.
	StickyCookie() (name, value string)
	// Learned is what the policies learn about the request before an instance is
	// picked, for the phases that follow.
	Learned() *Learned
	Asking
}

// Asking is what a policy needs that asks somebody else before it decides.
type Asking interface {
	// Wait calls f, which may take long. The route's timeout does not run meanwhile.
	// Gone is closed when the client leaves.
	Wait(f func(gone <-chan struct{}))
	// AppendForwarded appends the fields of the request that would be sent to an
	// instance, without any policy: those of the client that go on, but not what only
	// an Owner of the route may set, the forwarding fields, and the hops. They are valid
	// until the phase ends.
	AppendForwarded(dst []wire.Field) []wire.Field
	// Looped reports whether the request has passed serai too often to be sent
	// anywhere. It is known once AppendForwarded has been called.
	Looped() bool
	// FromTrusted reports whether the request came from a trusted proxy.
	FromTrusted() bool
}

// RequestPolicy takes part before an instance is picked.
type RequestPolicy interface {
	Policy
	// Request reports whether the policy answers the request itself, with what it has
	// written to reply. Then only the answer's phase follows.
	Request(r Request, reply *Reply) (answered bool)
}

// Reply is an answer of serai itself, or of a service that serai has asked.
type Reply struct {
	// Status is 0 when the client has left: it gets no answer.
	Status int
	// Reason is the short code for the log and X-Serai-Reason. Detail is for people; if
	// it is empty the answer has no body.
	Reason, Detail string
	// Body, unless it is nil, is sent in place of Detail, but not to clients of gRPC.
	Body []byte
	// Fields come before the common fields of such answers.
	Fields []wire.Field
	// Values has memory for values of Fields.
	Values *wire.Values
}

// refuse answers with an error that proxy's table of reasons has.
func (r *Reply) refuse(e *wire.Error) { r.Status, r.Reason, r.Detail = e.Status, e.Code, e.Detail }

// ForwardPolicy takes part whenever the request is sent to an instance, perhaps several
// times. Each time begins with what the client has sent. Where one refuses the request,
// those behind it do not take part.
type ForwardPolicy interface {
	Policy
	Forward(f *Forward)
}

// Forward is a request on its way to an instance. The framing and forwarding fields are
// not in Head yet, so no policy can change them.
type Forward struct {
	Request Request
	Head    *wire.OutgoingRequest
	// Path is the path that will be sent: see SetPath.
	Path []byte
	// Stripped is the prefix that was removed from the path, for X-Forwarded-Prefix.
	Stripped []byte
	// Values has memory for values of fields, and for a path.
	Values *wire.Values
	// Limits bound what policies make of the request, nil for the defaults.
	Limits *Limits

	refused string
}

// Refuse has the request answered with an error, because no valid one can be made of it
// for the instance. Why is for people.
func (f *Forward) Refuse(why string) { f.refused = why }

// Refused returns why the request is refused, empty if it is not.
func (f *Forward) Refused() string { return f.refused }

// SetPath sets another path. The query stays as received.
func (f *Forward) SetPath(path []byte) {
	f.Path, f.Head.Target = path, path
	if h := f.Request.Received(); h.HasQuery {
		target := append(f.Values.Start(), path...)
		target = append(target, '?')
		f.Head.Target = f.Values.Keep(append(target, h.Query...))
	}
}

// TrailerPolicy takes part in the trailers of requests and answers, which some readers
// merge into the head.
type TrailerPolicy interface {
	Policy
	// Trailers marks fields of a message that are not to be sent on as Dropped. For
	// requests it may be called by another goroutine than the other phases.
	Trailers(m Message, fields []wire.Field)
}

// Message is one of the two of an exchange.
type Message uint8

// The messages.
const (
	RequestMessage Message = iota
	AnswerMessage
)

// AnswerPolicy takes part in every final answer, from an instance or from serai, and in
// every 101.
type AnswerPolicy interface {
	Policy
	Answer(a *Answer)
}

// Answer is the head of an answer on its way to the client.
type Answer struct {
	Request Request
	Head    *wire.ResponseHead
	// Own says that serai itself answers: an error, a redirect. Otherwise it is an
	// instance's answer.
	Own bool
	// Page is what is sent in place of the answer's own body, nil for that.
	Page *Page
	// Values has memory for values of fields, and Limits, nil for the defaults, bound them.
	Values *wire.Values
	Limits *Limits
	// Relayed says that the body can be transformed on its way to the client. Memory is who
	// the memory for that is taken for; nil for no limit.
	Relayed bool
	Memory  *memory.Client
	// Transform is what the body goes through, nil for nothing. A policy that sets it has
	// changed the head accordingly, framing included. It is the proxy's from then on.
	Transform Transform
}

// Transform changes the body of one answer while it passes. One goroutine uses it.
type Transform interface {
	// Begin is called first. To takes what the body becomes, which is only valid until to
	// returns; when to fails, so does what is under way.
	Begin(to func(p []byte) error)
	// Write takes the next bytes of the body, which are only valid until it returns, and
	// may hold some of them back.
	Write(p []byte) error
	// Flush has to given all that is held back.
	Flush() error
	// Finish has to given the end of the body.
	Finish() error
	// End gives back what is held, whether the body has come to its end or not. It is
	// called once, and last.
	End()
}

// Add adds a field after all others.
func (a *Answer) Add(f wire.Field) { a.Head.Fields = append(a.Head.Fields, f) }

// Set replaces all fields of the same name by one.
func (a *Answer) Set(f wire.Field) {
	for i := range a.Head.Fields {
		if old := &a.Head.Fields[i]; len(old.Name) == len(f.Name) && bytes.EqualFold(old.Name, f.Name) {
			old.Kind = wire.Dropped
		}
	}
	a.Add(f)
}

// field makes a field once, when a policy is compiled.
func field(name, value string) wire.Field {
	return wire.Field{Name: []byte(name), Value: []byte(value)}
}
