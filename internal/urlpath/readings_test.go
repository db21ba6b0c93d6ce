package urlpath

import (
	"bytes"
	"slices"
	"testing"
)

func TestPlain(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a/b.c/d-e_f~g": true, "/a.": true, "*": true, "": true,
		"/%61": false, "//a": false, "/a//": false, "/./a": false, "/.well-known": false, "/a;b": false, `/a\b`: false,
	} {
		if Plain([]byte(path)) != want {
			t.Errorf("%s is plain: %v", path, !want)
		}
	}
}

// TestReadings: each path is read, by some server, as the second one.
func TestReadings(t *testing.T) {
	for path, want := range map[string]string{
		"/%61dmin":              "/admin",
		"/%61dmin/x":            "/admin/x",
		"//admin":               "/admin",
		"/./admin":              "/admin",
		"/x/../admin":           "/admin",
		"/../admin":             "/admin",
		"/x/%2e%2e/admin":       "/admin",
		"/x/..%2fadmin":         "/admin",
		"/x%2F..%2Fadmin":       "/admin",
		`/x\..\admin`:           "/admin",
		"/x%5c..%5Cadmin":       "/admin",
		`/\admin`:               "/admin",
		"/%5cadmin":             "/admin",
		"/admin;x=y":            "/admin",
		"/admin;x=y/z":          "/admin/z",
		"/admin%3bx":            "/admin",
		"/;x/admin":             "/admin",
		"/x/..;y/admin":         "/admin",
		"/x/..%00%2fadmin":      "/admin", // as "/x/..%00/admin"
		"/x/..%20%2Fadmin":      "/admin",
		"/x/..%20%20%5cadmin":   "/admin",
		"/x/.%00%2f../admin":    "/admin",
		"/%2fadmin":             "/admin",
		"/x/a//../../admin":     "/x/admin",
		"/a/./b/../../admin//x": "/admin/x",
		"/%2e/%61%64%6D%69n":    "/admin",
		"/admin/":               "/admin/",
		"/%":                    "/%",
		"/%zz":                  "/%zz",
		"/a%2":                  "/a%2",
		"/..":                   "/",
		"/admin/../x":           "/admin/../x",
		"/admin/..%2fx":         "/admin/..%2fx",
		"/%61dmin/..;/x":        "/admin/..;/x",
		"//x/admin":             "/admin",
		"///u@x:1//admin":       "//admin",
		`/\x/admin`:             "/admin",
		"//x":                   "/",
		"//":                    "//",
		"/admin%00x":            "/admin",
		"/admin%3fx/y":          "/admin",
		"/%61dmin%23":           "/admin",
	} {
		var all []string
		for r := range Readings([]byte(path)) {
			all = append(all, string(r))
		}
		if !slices.Contains(all, want) {
			t.Errorf("%s is read as %q, never as %s", path, all, want)
		}
	}
}

// FuzzReadings: every reading is a path without dot segments, of bounded length, and of a
// plain path there is only one, itself.
func FuzzReadings(f *testing.F) {
	for _, seed := range []string{"/a/b", "/%61/../b;c//d", `/\%5c%2f`, "*", "/a/..;/%2e%2e/%3b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		n := 0
		for r := range Readings(path) {
			if n++; n > 128 {
				t.Fatal("more than 128 readings")
			}
			if len(r) > len(path)+1 || len(r) == 0 || r[0] != '/' {
				t.Fatalf("%q is read as %q", path, r)
			}
			if len(path) > 0 && path[0] == '/' && Plain(path) && !bytes.Equal(path, r) {
				t.Fatalf("%q is plain and read as %q", path, r)
			}
		}
		if n > Count(path) {
			t.Fatalf("%q has %d readings, more than %d", path, n, Count(path))
		}
	})
}
