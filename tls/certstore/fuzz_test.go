package certstore_test

import (
	"regexp"
	"testing"

	"serai/tls/certstore"
)

// nomadPath are the paths that Nomad accepts.
var nomadPath = regexp.MustCompile(`^[a-zA-Z0-9-_~/]{1,128}$`)

// FuzzPath: whatever the parts are, Nomad accepts the path, and no other parts make the
// same one.
func FuzzPath(f *testing.F) {
	f.Add("ca", "a.example.org", "b.example.org")
	f.Add("ca", "a/b", "a~2Fb")
	f.Add("", "~", "\x00\xff")
	f.Fuzz(func(t *testing.T, ca, a, b string) {
		first, second := certstore.Path("tls", "certs", ca, a), certstore.Path("tls", "certs", ca, b)
		if (first == second) != (a == b) {
			t.Errorf("%q and %q have the paths %q and %q", a, b, first, second)
		}
		if !nomadPath.MatchString("serai/" + first) {
			t.Errorf("nomad does not take %q", first)
		}
	})
}

// FuzzOpen: only what was sealed here can be opened.
func FuzzOpen(f *testing.F) {
	s, err := certstore.NewSealer([]byte("sixteen bytes and more"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("sealed:1:")
	f.Add("sealed:1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("-----BEGIN PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, value string) {
		if open, err := s.Open("path", "key", value); err == nil && open != value {
			t.Errorf("%q opens as %q", value, open)
		}
		if open, err := s.Open("path", "key", s.Seal("path", "key", value)); err != nil || open != value {
			t.Errorf("%q comes back as %q, %v", value, open, err)
		}
	})
}
