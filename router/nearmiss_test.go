package router

import (
	"strings"
	"testing"
)

// TestNearMiss: of a path that is nearly a route's it is said what makes it another one.
func TestNearMiss(t *testing.T) {
	for _, c := range []struct {
		claim string
		exact bool
		path  string
		want  string // empty for nothing
	}{
		{"/api*", false, "/api", "star"},
		{"/api*", false, "/apis/x", "star"},
		{"/*/x", true, "/a/x", "star"},
		{"/shop", false, "/shopping", "below it, /shop/"},
		{"/shop", false, "/Shop/a", "case"},
		{"/Shop", true, "/shop", "case"},
		{"/a", true, "/a/", "path-exact"},
		{"/a", true, "/a/b", "path-exact"},
		{"/a/", true, "/a", "slash more"},
		{"/shop", false, "/other", ""},
		{"/shop", false, "/shop/../x", ""},
		{"/", true, "/other", ""},
		{"/shop", true, "/shopping", ""},
		{"/shop", false, "/sho", ""},
		{"/api*", false, "/other", ""},
	} {
		r := &Route{}
		r.Path, r.Exact = c.claim, c.exact
		if takesPath(r.Path, r.Exact, []byte(c.path)) {
			t.Errorf("%s takes %s", c.claim, c.path)
		}
		if got := nearMiss(r, []byte(c.path)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s (exact: %v) and %s: %q, want %q", c.claim, c.exact, c.path, got, c.want)
		}
	}
}
