package policy

import (
	"bytes"
	"net/netip"

	"serai/wire"
)

// Policy is a compiled policy. Never modified. It takes part in at least one phase.
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
	// Notes is what policies note in one phase for a later one of the same request.
	Notes() *Notes
	// StickyCookie returns the cookie that keeps the client on the instance that got
	// its request, empty when the client has it.
	StickyCookie() (name, value string)
}

// RequestPolicy takes part before an instance is picked.
type RequestPolicy interface {
	Policy
	// Request reports whether the policy answers the request itself, with what it has
	// written to reply. Then only the answer's phase follows.
	Request(r Request, reply *Reply) (answered bool)
}

// Reply is an answer of serai itself.
type Reply struct {
	Status int
	// Reason is the short code for the log and X-Serai-Reason. Detail is for people; if
	// it is empty the answer has no body.
	Reason, Detail string
	// Fields come before the common fields of such answers.
	Fields []wire.Field
	// Values has memory for values of Fields.
	Values *wire.Values
}

// refuse answers with an error that proxy's table of reasons has.
func (r *Reply) refuse(e *wire.Error) { r.Status, r.Reason, r.Detail = e.Status, e.Code, e.Detail }

// Notes are the notes of all policies about one request. The zero value has none.
type Notes struct {
	rate rateNote
	cors corsNote
}

// ForwardPolicy takes part whenever the request is sent to an instance, perhaps several
// times. Each time begins with what the client has sent.
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
}

// SetPath sets another path. The query stays as received.
func (f *Forward) SetPath(path []byte) {
	f.Path, f.Head.Target = path, path
	if h := f.Request.Received(); h.HasQuery {
		target := append(f.Values.Start(), path...)
		target = append(target, '?')
		f.Head.Target = f.Values.Keep(append(target, h.Query...))
	}
}

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
	// Values has memory for values of fields.
	Values *wire.Values
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
