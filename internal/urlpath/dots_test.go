package urlpath

import "testing"

func TestDots(t *testing.T) {
	for path, want := range map[string]struct{ dots, climbs bool }{
		"/": {}, "/a/b": {}, "/a.b/..c/.d/e../...": {}, "/%2f/%5c": {}, "//a": {}, "*": {}, "/a%252e%252e/": {}, "/a;..": {},
		"/.": {true, false}, "/a/./b": {true, false}, "/a/..": {true, false}, "/a/../b": {true, false}, "/a/b/../..": {true, false}, "/%2e": {true, false},
		"/a/.;x/b": {true, false}, `/a/.\b`: {true, false},
		"/..": {true, true}, "..": {true, true}, "/a/../../b": {true, true}, "/%2e%2E": {true, true}, "/.%2e/a": {true, true}, "/..;x": {true, true}, "/..%3Bx": {true, true},
		"/..%00": {true, true}, "/..%20%20": {true, true}, "/a/..%2f..%2Fb": {true, true}, `/a/..\..\b`: {true, true}, "/a%5c..%5c..": {true, true}, "//../a": {true, true},
	} {
		if got := HasDots([]byte(path)); got != want.dots {
			t.Errorf("%s has dot segments: %v", path, got)
		}
		if got := Climbs([]byte(path)); got != want.climbs {
			t.Errorf("%s climbs: %v", path, got)
		}
	}
}
