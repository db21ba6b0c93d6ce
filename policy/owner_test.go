package policy

import (
	"testing"

	"serai/wire"
)

// owner is an Owner that says who the user is.
type owner struct{}

func (owner) Request(r Request, _ *Reply) (answered bool) {
	l := r.Learned()
	l.Forget(owner{}.Owns())
	l.Forward = append(l.Forward, field("X-User", "ann"))
	l.Answer = append(l.Answer, field("Set-Cookie", "a=1"))
	return false
}
func (owner) Owns() Names     { return Names{"X-User", "X-User-Groups"} }
func (owner) Explain() string { return "auth: ann" }

// TestOwner: what an Owner says stands in the place of all that a client sends in its
// fields; what two say is said once; and it comes before other policies for fields.
func TestOwner(t *testing.T) {
	o := &OfRoute{}
	auth := &Auth{Name: "a", Check: owner{}}
	l := RouteLayers([]Layer{{Route: o, Instance: &OfInstance{}, Auth: auth}, {Policy: "p", Route: o, Instance: &OfInstance{}, Auth: auth}}, &State{})
	r := &request{}
	for _, name := range []string{"X-User", "x_user", "X.USER", "X-User-Groups", "X-Users", "XUser", "Accept"} {
		r.head.Fields = append(r.head.Fields, field(name, "client"))
	}
	if l.Request(r, &Reply{Values: &wire.Values{}}) {
		t.Fatal("answered")
	}
	for range 2 { // a second attempt is the same
		f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: &wire.Values{}}
		f.Head.Fields = append(f.Head.Fields, r.head.Fields...)
		l.Forward(f)
		if got := lines(f.Head.Fields); got != "X-Users: client\r\nXUser: client\r\nAccept: client\r\nX-User: ann\r\n" {
			t.Errorf("the instance gets %q", got)
		}
	}
	a := &Answer{Request: r, Head: &wire.ResponseHead{}, Values: &wire.Values{}}
	l.Answer(a)
	if got := lines(a.Head.Fields); got != "Cache-Control: private, no-store\r\nSet-Cookie: a=1\r\nSet-Cookie: a=1\r\n" {
		t.Errorf("the client gets %q", got)
	}
	if !l.Owns([]byte("X_User")) || l.Owns([]byte("X-Users")) || (*List)(nil).Owns([]byte("X-User")) {
		t.Error("the trailers are judged otherwise")
	}
	r.learned.Reset()
	f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: &wire.Values{}}
	f.Head.Fields = append(f.Head.Fields, field("X-User", "client"))
	l.Forward(f)
	if got := lines(f.Head.Fields); got != "" {
		t.Errorf("a request that nobody was asked about has %q", got)
	}
}
