package policy

import (
	"bytes"

	"serai/wire"
)

// Policy is compiled, and never modified. It has a part in at least one phase.
type Policy interface {
	// Explain says in a line what it does: its tag's name, a colon, plain words.
	Explain() string
}

// Request is what a policy may ask of a request. What it returns is valid until the
// phase ends.
type Request interface {
	// Received is the head as the client sent it. It must not be modified.
	Received() *wire.RequestHead
	// AppendHost appends the host that was asked for in the form that routes are
	// looked up by: lower case, without port and trailing dot.
	AppendHost(dst []byte) []byte
	// OverHTTPS reports whether the client speaks https, to us or to a trusted
	// proxy in front of us.
	OverHTTPS() bool
	// StickyCookie is the cookie that keeps the client on the instance that it was
	// sent to, empty when the client has it.
	StickyCookie() (name, value string)
}

// RequestPolicy has a part before an instance is picked.
type RequestPolicy interface {
	Policy
	// Request reports whether the policy answers the request itself, with what it
	// has written to reply. Then nothing else happens but the answer's phase.
	Request(r Request, reply *Reply) (answered bool)
}

// Reply is an answer of serai's own.
type Reply struct {
	Status int
	// Reason is the short code that the log and X-Serai-Reason give. Detail is for
	// people; where it is empty the answer has no body.
	Reason, Detail string
	// Fields come before those of every such answer.
	Fields []wire.Field
	// Values is where values of Fields may be made.
	Values *wire.Values
}

// ForwardPolicy has a part whenever the request is sent to an instance, which may
// be several times. Each time begins with what the client has sent.
type ForwardPolicy interface {
	Policy
	Forward(f *Forward)
}

// Forward is a request on its way to an instance. The fields that frame it, and
// those that tell of the client, are not in Head yet: no policy can change them.
type Forward struct {
	Request Request
	Head    *wire.OutgoingRequest
	// Path is the path as it is to be sent so far: see SetPath.
	Path []byte
	// Stripped is what was removed where the path begins; X-Forwarded-Prefix tells
	// it.
	Stripped []byte
	// Values is where values of fields, and a path, may be made.
	Values *wire.Values
}

// SetPath has the request sent with another path, and with its query as it came.
func (f *Forward) SetPath(path []byte) {
	f.Path, f.Head.Target = path, path
	if h := f.Request.Received(); h.HasQuery {
		target := append(f.Values.Start(), path...)
		target = append(target, '?')
		f.Head.Target = f.Values.Keep(append(target, h.Query...))
	}
}

// AnswerPolicy has a part in every final answer, whoever gives it, and every 101.
type AnswerPolicy interface {
	Policy
	Answer(a *Answer)
}

// Answer is the head of an answer on its way to the client.
type Answer struct {
	Request Request
	Head    *wire.ResponseHead
	// Own says that it is serai's: an error, a redirection. Otherwise an instance
	// gave it.
	Own bool
	// Values is where values of fields may be made.
	Values *wire.Values
}

// Add adds a field behind all others.
func (a *Answer) Add(f wire.Field) { a.Head.Fields = append(a.Head.Fields, f) }

// Set adds a field in place of all that have its name.
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
