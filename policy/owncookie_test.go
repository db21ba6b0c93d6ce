package policy

import "testing"

// TestForeignCookies: what is serai's own is left out, and nothing else.
func TestForeignCookies(t *testing.T) {
	for value, want := range map[string]string{
		"a=b":                            "a=b",
		"":                               "",
		"__Host-serai-corp=x":            "",
		"__Host-serai-corp=x; a=b":       "a=b",
		"a=b; __Host-serai-corp=x":       "a=b",
		"a=b;__Host-serai-corp.1=x;c=d":  "a=b;c=d",
		"a=b; __Host-serai-c.s.0=x; c=d": "a=b; c=d",
		"  __Host-serai-corp=x;\ta=b":    "a=b",
		"insecure-serai-corp=x; c":       "c",
		"__Host-serai-corp":              "",
		"x__Host-serai-corp=x":           "x__Host-serai-corp=x",
		"__host-serai-corp=x":            "__host-serai-corp=x", // browsers tell names apart by case
		"a=__Host-serai-corp=x":          "a=__Host-serai-corp=x",
		"; ;":                            "; ;",
	} {
		got := string(AppendForeignCookies(nil, []byte(value)))
		if !HasOwnCookie([]byte(value)) {
			got = value
		}
		if got != want {
			t.Errorf("of %q there is %q, want %q", value, got, want)
		}
	}
}

// FuzzForeignCookies: nothing of serai's own stays.
func FuzzForeignCookies(f *testing.F) {
	f.Add([]byte("a=b; __Host-serai-corp=x; c=d"))
	f.Add([]byte(";__Host-serai-__Host-serai-;insecure-serai-"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if rest := AppendForeignCookies(nil, value); HasOwnCookie(rest) || len(rest) > len(value) {
			t.Errorf("of %q there is %q", value, rest)
		}
	})
}
