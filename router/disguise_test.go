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
		"ingress.bare.host=a.example", "ingress.bare.path-exact=/slash", "ingress.bare.allow=192.0.2.1", "ingress.slash.host=a.example", "ingress.slash.path-exact=/slash/",
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
		// To who resolves no dot segments, or not these.
		"/admin/../x", "/admin/..%2fx", "/admin/%2e%2e/x", "/admin/..;/x", `/admin/..\x`, "/%61dmin/../x", "/admin;a/../x", "//admin/../../x", "/admin/%2e%2e%2f%2e%2e/x",
		// To who takes an authority for one, or ends a path at what was encoded.
		"//x/admin", "///x/admin/y", `/\x/admin`, "//x:80/%61dmin", "//u@x//admin", "//x/x/login", "/admin%00", "/admin%00.css", "/admin%3f", "/admin%3Fx/y", "/admin%23x", "/x/../admin%3f", "/x/login%3fa",
		"/x/login/", "/x/login//", "/x/%6cogin/", "/x//login/",
	} {
		if name, miss := lookup("a.example", path); miss != router.Disguised && name != "admin" {
			t.Errorf("%s goes to route %q: %v", path, name, miss)
		}
	}
	for path, want := range map[string]string{
		"/": "", "/admin": "admin", "/admin/%41": "admin", "/admin/a//b": "admin", "/x/login": "login", "/slash/": "slash", "/%20": "", "/a;b/c": "", "//x": "",
		"/%2561dmin": "", "/administration": "", "/%61dministration": "", "/files/%2Fadmin": "", "/%6Fld": "", "/a/../b": "", "/.well-known/x": "", "/x/admin": "", "/x%3fadmin": "", "/x%00": "", "//x/y": "", "/x/login/y": "", "/x/": "", "/adminx%00": "",
	} {
		if name, miss := lookup("a.example", path); miss != router.Found || name != want {
			t.Errorf("%s goes to route %q, want %q: %v", path, name, want, miss)
		}
	}
	long := "/" + strings.Repeat("a;", 5000)
	for path, want := range map[string]router.Miss{long: router.Found, long + "//%61%00": router.Disguised} {
		if _, miss := lookup("a.example", path); miss != want {
			t.Errorf("%.20s... of %d bytes: %v, want %v", path, len(path), miss, want)
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

// TestDisguisedMethods: a method that some servers read as one whose route has a guard does
// not lead past it.
func TestDisguisedMethods(t *testing.T) {
	w := newWorldWith(t, router.Options{})
	w.setTags("web", []string{
		"ingress.host=a.example",
		"ingress.login.host=a.example", "ingress.login.path=/login", "ingress.login.method=POST,PUT", "ingress.login.rate=5/m",
		"ingress.put.host=a.example", "ingress.put.path=/files", "ingress.put.method=PUT",
	})
	for _, c := range []struct {
		method, path string
		want         router.Miss
	}{
		{"POST", "/login", router.Found}, {"GET", "/login", router.Found}, {"get", "/login", router.Found}, {"post", "/x", router.Found}, {"put", "/files", router.Found},
		{"post", "/login", router.DisguisedMethod}, {"Post", "/login/x", router.DisguisedMethod}, {"pUT", "/login", router.DisguisedMethod}, {"post", "/%6cogin", router.DisguisedMethod},
		{"POST", "/%6cogin", router.Disguised},
	} {
		_, miss := w.router.Current().Lookup(&router.Query{Host: []byte("a.example"), Method: []byte(c.method), Path: []byte(c.path), Attributes: attributes{}})
		if miss != c.want {
			t.Errorf("%s %s: %v, want %v", c.method, c.path, miss, c.want)
		}
	}
}

// TestDisguisedEncodedPaths: where the path of a guarded route has encoded bytes, no other way
// to encode it leads past the guard, and what has nothing to hide goes its way.
func TestDisguisedEncodedPaths(t *testing.T) {
	tags := func(host string) []string {
		return []string{
			"ingress.host=" + host,
			"ingress.cafe.host=" + host, "ingress.cafe.path=/caf%C3%A9", "ingress.cafe.allow=192.0.2.1",
			"ingress.menu.host=" + host, "ingress.menu.path=/caf%C3%A9/menu",
			"ingress.my.host=" + host, "ingress.my.path=/my%20files", "ingress.my.allow=192.0.2.1",
			"ingress.bob.host=" + host, "ingress.bob.path=/%7ebob", "ingress.bob.allow=192.0.2.1",
			"ingress.sum.host=" + host, "ingress.sum.path-exact=/a%2Bb", "ingress.sum.allow=192.0.2.1",
			"ingress.twice.host=" + host, "ingress.twice.path=/x%2520y", "ingress.twice.allow=192.0.2.1",
			"ingress.free.host=" + host, "ingress.free.path=/fr%C3%BCh",
			"ingress.scope.host=" + host, "ingress.scope.path=/npm/@s%2Fp,/v%3b1", "ingress.scope.allow=192.0.2.1",
			"ingress.posted.host=" + host, "ingress.posted.path=/p%20p", "ingress.posted.method=POST", "ingress.posted.allow=192.0.2.1",
		}
	}
	many := tags("many.example")
	for i := range 40 {
		many = append(many, fmt.Sprintf("ingress.r%d.host=many.example", i), fmt.Sprintf("ingress.r%d.path=/r%%20%d", i, i))
	}
	w := newWorldWith(t, router.Options{})
	w.setTags("few", tags("few.example"))
	w.setTags("many", many)
	w.setTags("wild", tags("*.w.example"))
	w.setTags("below", []string{"ingress.host=x.w.example", "ingress.a.host=x.w.example", "ingress.a.path=/a"})
	w.setTags("shut", []string{"ingress.host=shut.example", "ingress.allow=192.0.2.1", "ingress.open.host=shut.example", "ingress.open.path=/caf%C3%A9"})
	w.setTags("plain", []string{"ingress.host=p.example", "ingress.a.host=p.example", "ingress.a.path=/a%20b"})
	lookup := func(host, path string) (string, router.Miss) {
		r, miss := w.router.Current().Lookup(&router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path), Attributes: attributes{}})
		if r == nil {
			return "", miss
		}
		return r.Name, miss
	}
	for _, host := range []string{"few.example", "many.example", "y.w.example"} {
		for _, path := range []string{
			"/caf%c3%a9", "/caf%C3%a9/x", "/%63af%C3%A9", "/caf%c3%a9/menus", "//caf%c3%a9", "/x/../caf%c3%a9", "/caf%c3%a9;x", "/caf%c3%a9%00", "/caf%c3%a9/../caf%C3%A9/menu/x",
			"/%6dy%20files", "/my%20files%2fx", "/my%20%66iles/a", "/~bob", "/%7Ebob", "/~bob/x", "/~bob/", "/%7e%62ob", "/a+b", "/a%2bb", "/a+b/", "/%61+b", "/x%2520%79", "/%78%2520y/z",
			"/npm/@s%2fp", "/npm/%40s%2Fp/x", "/npm//@s%2fp", "/v%3B1", "/%76%3b1/x",
		} {
			if name, miss := lookup(host, path); miss != router.Disguised {
				t.Errorf("%s%s goes to route %q: %v", host, path, name, miss)
			}
		}
		for path, want := range map[string]string{
			"/": "", "/x": "", "/caf%C3%A9": "cafe", "/caf%C3%A9/x": "cafe", "/caf%C3%A9/x%20y": "cafe", "/caf%C3%A9/menu": "menu", "/caf%C3%A9/menu/x%c3": "menu", "/my%20files/%41": "my", "/%7ebob/x": "bob", "/a%2Bb": "sum",
			"/x%2520y": "twice", "/x%2520y/z": "twice", "/fr%C3%BCh/x": "free", "/fr%c3%bch": "", "/caf%C3%A9s": "", "/cafe": "", "/my+files": "", "/~bobby": "", "/a+b/c": "", "/p%20p": "", "/%70%20p": "", "/my%2520files2": "",
			"/npm/@s%2Fp": "scope", "/npm/@s/p": "", "/npm/@s/p/a%20b": "", "/npm/@s": "", "/v%3b1": "scope", "/v;1": "", "/x%20y": "",
		} {
			if name, miss := lookup(host, path); miss != router.Found || name != want {
				t.Errorf("%s%s goes to route %q, want %q: %v", host, path, name, want, miss)
			}
		}
	}
	// An open path of a guarded host stays open, as it is written.
	for path, want := range map[string]router.Miss{"/caf%C3%A9": router.Found, "/caf%C3%A9/x%20y": router.Found, "/caf%C3%A9/%6d": router.Found, "/caf%c3%a9": router.Found, "/x": router.Found} {
		name, miss := lookup("shut.example", path)
		if open := strings.HasPrefix(path, "/caf%C3"); miss != want || (name == "open") != open {
			t.Errorf("shut.example%s goes to route %q: %v", path, name, miss)
		}
	}
	if name, _ := lookup("shut.example", "/caf%C3%A9/../x"); name == "open" {
		t.Error("a path out of an open one is open")
	}
	if name, miss := lookup("many.example", "/r%20%39"); miss != router.Found || name != "" {
		t.Errorf("another spelling of a route without a guard goes to %q: %v", name, miss)
	}
	if name, miss := lookup("p.example", "/%61%20b"); miss != router.Found || name != "" {
		t.Errorf("another spelling on a host without guards goes to %q: %v", name, miss)
	}
	w.setTags("many", many[:1])
	w.setTags("wild", nil)
	for _, path := range []string{"/~bob", "/caf%c3%a9"} {
		for _, host := range []string{"many.example", "x.w.example"} {
			if _, miss := lookup(host, path); miss != router.Found {
				t.Errorf("%s%s when the guard has gone: %v", host, path, miss)
			}
		}
	}
}
