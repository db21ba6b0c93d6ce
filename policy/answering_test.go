package policy

import (
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
	l := RouteLayers([]Layer{{Route: &OfRoute{Auth: "a"}, Auth: &Auth{Name: "a", Check: door{"/a"}}}}, &State{})
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
