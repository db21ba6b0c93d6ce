package http2

import (
	"strings"
	"testing"
	"unsafe"

	"serai/wire"
)

// TestCrumbsAreJoined: however often a head has Cookie, which is a byte each on the wire,
// it takes no more memory than it asks for.
func TestCrumbsAreJoined(t *testing.T) {
	for name, values := range map[string][]string{
		"one": {"a=b"}, "several": {"a=b", "c=d", "e=f"}, "an empty one": {"a=b", "", "c=d"}, "empty ones": make([]string, 1000), "many": strings.Split(strings.Repeat("a ", 1000)+"a", " "),
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := Section{Limits: wire.DefaultLimits(), Room: func() bool { asked++; return true }}
			for round := range 3 {
				s.Reset()
				add := func(field, value string) {
					e := Entry{Name: []byte(field), Value: []byte(value)}
					e.classifyName()
					e.classifyValue()
					s.Add(&e)
				}
				for _, p := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}, {"x", "before"}} {
					add(p[0], p[1])
				}
				for i, value := range values {
					add("cookie", value)
					if i == 0 {
						add("y", "between")
					}
				}
				var h wire.RequestHead
				if err := s.Request(&h, false); err != nil {
					t.Fatal(err)
				}
				want := ""
				for _, value := range values {
					if want != "" {
						want += "; "
					}
					want += value
				}
				if len(h.Fields) != 3 || string(h.Fields[1].Name) != "cookie" || string(h.Fields[1].Value) != want || string(h.Fields[2].Value) != "between" {
					t.Errorf("in round %d the fields are %.500q", round, h.Fields)
				}
				if size := s.Size() + cap(s.fields)*int(unsafe.Sizeof(span{})); asked == 0 && size > InlineSize {
					t.Errorf("it takes %d bytes, and has not asked", size)
				}
			}
		})
	}
}

// TestTrailersWithCrumbs: those of trailers are joined, too.
func TestTrailersWithCrumbs(t *testing.T) {
	s := Section{Limits: wire.DefaultLimits()}
	for range 1000 {
		e := Entry{Name: []byte("cookie"), Value: []byte("a")}
		e.classifyName()
		s.Add(&e)
	}
	if got, err := s.Trailers(nil); err != nil || len(got) != 1 || len(got[0].Value) != 3*1000-2 {
		t.Errorf("%d fields, %v", len(got), err)
	}
}
