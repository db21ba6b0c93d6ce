package router_test

import (
	"fmt"
	"strings"
	"testing"

	"serai/router"
)

// TestDisguisedPaths: no spelling of a guarded path that some server reads as that path
// leads past the guard, and what has nothing to hide goes its way.
func TestDisguisedPaths(t *testing.T) {
	w := newWorldWith(t, router.Options{})
	w.setTags("web", []string{
		"ingress.host=a.example",
		"ingress.admin.host=a.example", "ingress.admin.path=/admin", "ingress.admin.allow=192.0.2.1",
		"ingress.login.host=a.example", "ingress.login.path-exact=/x/login", "ingress.login.rate=5/m",
		"ingress.old.host=a.example", "ingress.old.path=/old", "ingress.old.redirect=https",
	})
	w.setTags("alone", []string{"ingress.host=b.example"})
	w.setTags("free", []string{"ingress.host=d.example", "ingress.x.host=d.example", "ingress.x.path=/x"})
	w.setTags("wild", []string{"ingress.host=*.w.example", "ingress.x.host=*.w.example", "ingress.x.path=/x", "ingress.x.allow=192.0.2.1"})
	many := []string{"ingress.host=e.example", "ingress.admin.host=e.example", "ingress.admin.path=/admin", "ingress.admin.allow=192.0.2.1"}
	for i := range 40 {
		many = append(many, fmt.Sprintf("ingress.r%d.host=e.example", i), fmt.Sprintf("ingress.r%d.path=/r%d", i, i))
	}
	w.setTags("many", many)
	w.setTags("all", []string{
		"ingress.host=c.example", "ingress.allow=192.0.2.1",
		"ingress.api.host=c.example", "ingress.api.path=/api", "ingress.api.allow=192.0.2.1",
	})
	lookup := func(host, path string) (string, router.Miss) {
		r, miss := w.router.Current().Lookup(&router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path), Attributes: attributes{}})
		if r == nil {
			return "", miss
		}
		return r.Name, miss
	}
	for _, path := range []string{
		"/%61dmin", "/%61dmin/x", "/ad%6Din", "//admin", "///admin/x", "/./admin", "/x/../admin", "/../admin", "/x/%2e%2e/admin", "/x/..%2fadmin", "/x%2F..%2Fadmin",
		`/x\..\admin`, `/\admin`, "/%5cadmin", "/admin;x=y", "/admin;x/z", "/admin%3bx", "/;x/admin", "/x/..;y/admin", "/%2fadmin", "/admin%2Fx", `/admin\x`, "/x/./../%61dmin",
		"/x//login", "/%78/login", "/x/login;a", "/x/y/../login", "/x%2flogin", "/admin/../admin",
	} {
		if name, miss := lookup("a.example", path); miss != router.Disguised && name != "admin" {
			t.Errorf("%s goes to route %q: %v", path, name, miss)
		}
	}
	for path, want := range map[string]string{
		"/": "", "/admin": "admin", "/admin/%41": "admin", "/admin/a//b": "admin", "/x/login": "login", "/x/login/": "", "/%20": "", "/a;b/c": "", "//x": "",
		"/%2561dmin": "", "/administration": "", "/%61dministration": "", "/files/%2Fadmin": "", "/%6Fld": "", "/a/../b": "", "/.well-known/x": "", "/x/admin": "",
	} {
		if name, miss := lookup("a.example", path); miss != router.Found || name != want {
			t.Errorf("%s goes to route %q, want %q: %v", path, name, want, miss)
		}
	}
	for host, path := range map[string]string{"e.example": "/%61dmin", "y.w.example": "/%78"} {
		if name, miss := lookup(host, path); miss != router.Disguised {
			t.Errorf("%s%s goes to route %q: %v", host, path, name, miss)
		}
	}
	w.setTags("many", many[:1])
	if _, miss := lookup("e.example", "/%61dmin"); miss != router.Found {
		t.Errorf("when the guard has gone: %v", miss)
	}
	for n, want := range map[int]router.Miss{200: router.Found, 300: router.Disguised} {
		if _, miss := lookup("a.example", strings.Repeat("/%61", n)); miss != want {
			t.Errorf("%d encoded segments: %v, want %v", n, miss, want)
		}
	}
	if _, miss := lookup("d.example", strings.Repeat("/%61", 300)); miss != router.Found {
		t.Errorf("300 encoded segments of a host without guards: %v", miss)
	}
	if _, miss := lookup("a.example", strings.Repeat("/a", 300)); miss != router.Found {
		t.Errorf("300 plain segments: %v", miss)
	}
	for _, path := range []string{"/%61pi", "//api/x", "/x;y", "/%2e%2e/x"} {
		if _, miss := lookup("b.example", path); miss != router.Found {
			t.Errorf("%s of a host without guards: %v", path, miss)
		}
		if _, miss := lookup("c.example", path); miss != router.Found {
			t.Errorf("%s of a host whose routes have the same guards: %v", path, miss)
		}
	}
}
