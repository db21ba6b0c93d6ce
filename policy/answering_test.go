package policy

import (
	"strings"
	"testing"

	"serai/wire"
)

// door is an auth that answers a path by itself, and refuses all else.
type door struct{ path string }

func (d door) Explain() string   { return "auth: a door" }
func (d door) Owns() Names       { return Names{"X-User"} }
func (d door) Answers() []string { return []string{d.path} }
func (d door) Request(r Request, reply *Reply) bool {
	reply.Status, reply.Reason = 401, "auth-required"
	if string(r.Received().Path) == d.path {
		reply.Status, reply.Reason = 302, "auth-login"
	}
	return true
}

// TestAnsweredPathsMeetNoOtherPolicy: neither an address list nor another auth is in the way
// where a login comes back to.
func TestAnsweredPathsMeetNoOtherPolicy(t *testing.T) {
	deny, err := ParseAddresses([]string{"0.0.0.0/1", "128.0.0.0/1"})
	if err != nil {
		t.Fatal(err)
	}
	l := RouteLayers([]Layer{
		{Route: &OfRoute{Deny: deny, Auth: "a"}, Auth: &Auth{Name: "a", Check: door{"/a"}}},
		{Policy: "p", Route: &OfRoute{Auth: "b"}, Auth: &Auth{Name: "b", Check: door{"/b"}}},
	}, &State{})
	for path, want := range map[string]int{"/a": 302, "/b": 302, "/c": 403, "/a/": 403, "/": 403} {
		r := asker()
		r.head.Path = []byte(path)
		reply := &Reply{Values: &wire.Values{}}
		if !l.Request(r, reply) || reply.Status != want {
			t.Errorf("%s is answered %d, want %d", path, reply.Status, want)
		}
	}
	if paths := l.AnsweredPaths(); len(paths) != 2 {
		t.Errorf("the paths are %q", paths)
	}
}

// TestCookiesAreNotCached: an answer with a session is for one client.
func TestCookiesAreNotCached(t *testing.T) {
	guarded := func(o OfRoute) *List {
		o.Auth = "a"
		return RouteLayers([]Layer{{Route: &o, Auth: &Auth{Name: "a", Check: door{"/a"}}}}, &State{})
	}
	set := func(line string) (all []FieldSetting) {
		s, err := ParseFieldSetting(AnswerMessage, line)
		if err != nil {
			t.Fatal(err)
		}
		return append(all, s)
	}
	// What tags say of the answer ends no session, and publishes none.
	for name, o := range map[string]OfRoute{
		"cached": {ResponseSet: set("Cache-Control: public, max-age=3600")}, "cached by one": {ResponseSet: set("Example-CDN-Cache-Control: max-age=3600")}, "cached by nginx": {ResponseSet: set("X-Accel-Expires: 3600")},
		"removed": {ResponseRemove: []string{"Set-Cookie", "Cache-Control"}}, "replaced": {ResponseSet: set("Set-Cookie: own=1")},
	} {
		r := asker()
		r.Learned().Answer = []wire.Field{field("Set-Cookie", "a=b")}
		a := &Answer{Request: r, Head: &wire.ResponseHead{Fields: []wire.Field{field("Cache-Control", "private"), field("Set-Cookie", "app=1")}}, Values: &wire.Values{}}
		list := guarded(o)
		list.Answer(a)
		got := lines(a.Head.Fields)
		if !strings.Contains(got, "Set-Cookie: a=b\r\n") || strings.Count(got, "Cache-Control: private") != 1 || strings.Contains(got, "3600") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	l := guarded(OfRoute{})
	for of, want := range map[string]string{"public, max-age=60": "private, no-store", "": "private, no-store", "private": "private", "no-store, max-age=1": "no-store, max-age=1"} {
		r := asker()
		r.Learned().Answer = []wire.Field{field("Set-Cookie", "a=b")}
		a := &Answer{Request: r, Head: &wire.ResponseHead{Fields: []wire.Field{field("CDN-Cache-Control", "max-age=9")}}, Values: &wire.Values{}}
		if of != "" {
			a.Add(field("Cache-Control", of))
		}
		l.Answer(a)
		said := ""
		for _, f := range a.Head.Fields {
			if f.Kind == wire.Dropped {
				continue
			}
			switch string(f.Name) {
			case "Cache-Control":
				said += string(f.Value)
			case "CDN-Cache-Control":
				t.Error("another cache is told something else")
			}
		}
		if said != want {
			t.Errorf("%q becomes %q, want %q", of, said, want)
		}
	}
}
