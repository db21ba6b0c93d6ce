package policy

import (
	"strings"
	"testing"

	"serai/wire"
)

// TestLimits: paths and made values are as long as they may be, and what is left out is counted.
func TestLimits(t *testing.T) {
	path := "/" + strings.Repeat("a", 99)
	r := asker()
	r.head.Path = []byte(path)
	rewrite, err := ParseRewrite("^/(.*)$", "/b$1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, made int
		why        string
		fields     int
		omitted    uint64
	}{
		{100, 100, "the path that the route makes of this one is too long", 1, 1},
		{99, 200, "the path is too long to be rewritten", 2, 0},
		{101, 99, "", 0, 2},
		{0, 0, "", 2, 0},
	} {
		limits := NewLimits(c.path, c.made)
		f := &Forward{Request: r, Head: &wire.OutgoingRequest{Target: []byte(path)}, Path: []byte(path), Values: &wire.Values{}, Limits: limits}
		ForInstance(&OfInstance{Rewrite: rewrite}).Forward(f)
		if f.Refused() != c.why {
			t.Errorf("%+v: refused for %q", c, f.Refused())
		}
		set := settings(t, RequestMessage, "A: {path}", "B: {path}", "C: literal")
		f = &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: &wire.Values{}, Limits: limits}
		ForRoute(&OfRoute{RequestSet: set}, &State{}).Forward(f)
		if n := len(f.Head.Fields) - 1; n != c.fields || limits.Omitted() != c.omitted {
			t.Errorf("%+v: %d fields are made, %d left out", c, n, limits.Omitted())
		}
		before := limits.Omitted()
		a := &Answer{Request: r, Head: &wire.ResponseHead{}, Values: &wire.Values{}, Limits: limits}
		ForRoute(&OfRoute{ResponseSet: settings(t, AnswerMessage, "A: {path}", "B: {path}")}, &State{}).Answer(a)
		if n := len(a.Head.Fields); n != c.fields || limits.Omitted()-before != c.omitted {
			t.Errorf("%+v: %d fields of an answer are made, %d left out", c, n, limits.Omitted()-before)
		}
	}
}
