//go:build !race

package policy

import (
	"testing"

	"serai/wire"
)

// TestAllocNothing: all phases of all policies, once their memory is there.
func TestAllocNothing(t *testing.T) {
	rewrite, err := ParseRewrite("^/other/[a-z]*/(.*)$", "/$1")
	if err != nil {
		t.Fatal(err)
	}
	l := ForRoute(&OfRoute{
		HSTS: "max-age=9", Sticky: "stay", SameSite: SameSiteNone, Redirect: &Redirect{HTTPS: true},
		RequestSet:    settings(t, RequestMessage, "X-A: {host}{path} {client} {request-id} {tls-version} {sni}", "X-B: 1"),
		RequestRemove: []string{"X-C"}, ResponseRemove: []string{"X-D"}, NoAccessLog: true,
		ResponseSet: settings(t, AnswerMessage, "X-A: {host}{path} {request-id}", "X-B: 1"),
	}, &State{})
	instance := ForInstance(&OfInstance{Strip: "/api", Rewrite: rewrite, Prepend: "/app"})
	r := asker()
	r.https, r.cookie, r.value = true, "stay", "v"
	r.head.Path, r.head.Query, r.head.HasQuery = []byte("/api/x"), []byte("y"), true
	values := &wire.Values{}
	reply := &Reply{Values: values}
	f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: values}
	a := &Answer{Request: r, Head: &wire.ResponseHead{}, Values: values}
	once := func() {
		values.Reset()
		reply.Fields, a.Head.Fields, f.Path = reply.Fields[:0], a.Head.Fields[:0], r.head.Path
		f.Head.Fields = f.Head.Fields[:0]
		l.Request(r, reply)
		instance.Forward(f)
		l.Forward(f)
		l.Answer(a)
		l.Trailers(RequestMessage, f.Head.Fields)
	}
	for range 10 {
		once()
	}
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(f.Head.Fields) != 2 || len(a.Head.Fields) != 4 || string(f.Path) != "/app/x" || f.Refused() != "" {
		t.Errorf("%s with %q, answered with %q, refused for %q", f.Path, lines(f.Head.Fields), lines(a.Head.Fields), f.Refused())
	}
}

// TestAllocRewrite: an expression that does not match costs nothing, one that does the
// list of its groups.
func TestAllocRewrite(t *testing.T) {
	for _, c := range []struct {
		pattern string
		want    float64
	}{{"^/other/(.*)$", 0}, {"^/a/[0-9]+/(.*)$", 0}, {"([0-9]+)/.*(x)y$", 0}, {"^/a/(.*)$", 1}} {
		rewrite, err := ParseRewrite(c.pattern, "/$1")
		if err != nil {
			t.Fatal(err)
		}
		l := ForInstance(&OfInstance{Rewrite: rewrite})
		r := &request{}
		r.head.Path = []byte("/a/b/c")
		values := &wire.Values{}
		f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: values}
		once := func() {
			values.Reset()
			f.Path = r.head.Path
			l.Forward(f)
		}
		for range 10 {
			once()
		}
		if n := testing.AllocsPerRun(100, once); n > c.want {
			t.Errorf("%s: %v allocations, want %v", c.pattern, n, c.want)
		}
	}
}
