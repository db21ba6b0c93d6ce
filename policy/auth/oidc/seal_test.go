package oidc

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/wire"
)

func keysOf(t testing.TB, seeds ...byte) *Keys {
	t.Helper()
	var lines []string
	for _, seed := range seeds {
		lines = append(lines, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	}
	k, err := ParseKeys([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newLogin(t testing.TB, name string, k *Keys) *Login {
	t.Helper()
	l, err := New(name, Options{Issuer: "https://id.example.org", ClientID: "serai", ClientSecret: func() string { return "s" }, Keys: func() *Keys { return k }}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseKeys(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb}, 32)
	standard, hexadecimal := base64.StdEncoding.EncodeToString(key), hex.EncodeToString(key)
	for text, want := range map[string]int{
		standard: 1, standard + "\r\n": 1, hexadecimal: 1, base64.RawURLEncoding.EncodeToString(key): 1, string(key): 1,
		"# new\n" + standard + "\n\n" + hexadecimal + "\n": 2, strings.Repeat(standard+"\n", 8): 8,
	} {
		k, err := ParseKeys([]byte(text))
		if err != nil || len(k.aeads) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "\n", "# nothing", standard[:40], standard + "AAAA", standard + " " + standard, string(key[:31]), string(key) + "\n", "secret-secret-secret", strings.Repeat(standard+"\n", 9)} {
		if _, err := ParseKeys([]byte(text)); err == nil || text != "" && strings.Contains(err.Error(), strings.TrimSpace(text)) && strings.TrimSpace(text) != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSealedIsBound: what is sealed opens with one of the keys, and in its own context only.
func TestSealedIsBound(t *testing.T) {
	l := newLogin(t, "corp", keysOf(t, 1))
	sealed, ok := l.sealSession(&session{ID: "i", User: "ann", Ends: 1}, "a.test")
	if !ok || l.openSession(sealed, "a.test") == nil {
		t.Fatal("a session does not open")
	}
	if newLogin(t, "corp", keysOf(t, 2, 3, 1)).openSession(sealed, "a.test") == nil {
		t.Error("with the key in the last place it does not open")
	}
	for name, other := range map[string]*Login{"another key": newLogin(t, "corp", keysOf(t, 2)), "another auth": newLogin(t, "cor", keysOf(t, 1))} {
		if other.openSession(sealed, "a.test") != nil {
			t.Errorf("%s opens it", name)
		}
	}
	if l.openSession(sealed, "b.test") != nil {
		t.Error("it opens on another host")
	}
	for _, change := range []func(*Login){func(l *Login) { l.o.Issuer += "/" }, func(l *Login) { l.o.ClientID = "other" }} {
		other := newLogin(t, "corp", keysOf(t, 1))
		change(other)
		if other.openSession(sealed, "a.test") != nil {
			t.Error("it opens for another provider or client")
		}
	}
	a := newAttempt(0, nil, time.Now(), "/x", "https://a.test/cb")
	attempt := l.sealAttempt(a, "a.test")
	if l.openAttempt(attempt, "a.test", a.State, time.Now()) == nil || !validState(a.State) {
		t.Fatal("an attempt does not open")
	}
	if l.openSession(attempt, "a.test") != nil || l.openAttempt(sealed, "a.test", a.State, time.Now()) != nil {
		t.Error("an attempt opens as a session, or the other way round")
	}
	if l.openAttempt(attempt, "a.test", newAttempt(0, nil, time.Now(), "/", "").State, time.Now()) != nil {
		t.Error("it opens for another state")
	}
	for _, late := range []time.Duration{15*time.Minute + 2*time.Second, -2 * time.Hour} {
		if l.openAttempt(attempt, "a.test", a.State, time.Now().Add(late)) != nil {
			t.Errorf("it opens %v later", late)
		}
	}
}

// FuzzCookies: whatever a client sends as cookies opens nothing, and breaks nothing.
func FuzzCookies(f *testing.F) {
	key := make([]byte, 32)
	rand.Read(key) // each process that fuzzes has its own: the seed of another one opens nothing
	k, err := ParseKeys([]byte(base64.StdEncoding.EncodeToString(key)))
	if err != nil {
		f.Fatal(err)
	}
	l := newLogin(f, "corp", k)
	sealed, _ := l.sealSession(&session{ID: "i", User: "ann", Ends: 1}, "a.test")
	f.Add("__Host-serai-corp=1." + sealed)
	f.Add("__Host-serai-corp=2.a; __Host-serai-corp.1=b; __Host-serai-corp.s.0123456789abcdef=c")
	f.Fuzz(func(t *testing.T, value string) {
		c := l.readCookies([]wire.Field{{Name: []byte("Cookie"), Value: []byte(value), Kind: wire.Cookie}}, true)
		if got := c.session(); got != sealed && got != "" && l.openSession(got, "a.test") != nil {
			t.Errorf("%q opens", got)
		}
		l.room(&c, "a.test")
	})
}

// FuzzLocalTarget: what is a target has no other host for anybody.
func FuzzLocalTarget(f *testing.F) {
	for _, s := range []string{"/", "/a?b", "//a", `/\a`, "/\t/a", "/%2f/a", "/a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target := targetOf([]byte(s))
		if target[0] != '/' || strings.ContainsAny(target, "\\\t\r\n \x00#") || strings.HasPrefix(target, "//") || len(target) > longestTarget {
			t.Errorf("%q becomes %q", s, target)
		}
	})
}

// TestLargeSessions: what fits into the cookies comes back from them; more does not.
func TestLargeSessions(t *testing.T) {
	l := newLogin(t, "corp", keysOf(t, 1))
	for size := range 12 {
		s := &session{ID: "i", User: "ann", Refresh: strings.Repeat("r", 1000*size), Ends: 1}
		sealed, ok := l.sealSession(s, "a.test")
		if ok != (size <= 8) {
			t.Errorf("%d KB fit: %v", size, ok)
		}
		if !ok {
			continue
		}
		var line []byte
		for _, f := range l.sessionFields(sealed, &cookies{}, true, time.Hour) {
			if len(f.Value) > 4096 {
				t.Errorf("a cookie has %d bytes", len(f.Value))
			}
			pair, _, _ := bytes.Cut(f.Value, []byte(";"))
			line = append(append(line, pair...), "; "...)
		}
		c := l.readCookies([]wire.Field{{Name: []byte("Cookie"), Value: line, Kind: wire.Cookie}}, true)
		if got := l.openSession(c.session(), "a.test"); got == nil || got.Refresh != s.Refresh {
			t.Errorf("%d KB do not come back", size)
		}
	}
}

// TestKeysThatFollow: keys that have changed seal with the key of before for a while, where it
// is still among them, and open what either has sealed.
func TestKeysThatFollow(t *testing.T) {
	begun := time.Now()
	first := keysOf(t, 1)
	for name, c := range map[string]struct {
		next  *Keys
		after time.Duration
		seals byte // the key that opens it
	}{
		"added in front":          {keysOf(t, 2, 1), 0, 1},
		"a moment before the end": {keysOf(t, 2, 1), settling - 1, 1},
		"at the end":              {keysOf(t, 2, 1), settling, 2},
		"added behind":            {keysOf(t, 1, 2), 0, 1},
		"the old one is gone":     {keysOf(t, 2), 0, 2},
		"the same":                {keysOf(t, 1), 0, 1},
		"the last of three":       {keysOf(t, 3, 2, 1), 0, 1},
	} {
		next := c.next.After(first, begun)
		if next.sealer(begun.Add(c.after)) != sealerOf(t, c.next, c.seals) {
			t.Errorf("%s: it seals with the key in place %d", name, next.sealer(begun.Add(c.after)))
		}
	}
	if k := keysOf(t, 2, 1); k.After(nil, begun) != k {
		t.Error("the first keys of all wait")
	}
	// Twice within that while: the key that seals is the one that seals already.
	second := keysOf(t, 2, 1).After(first, begun)
	third := keysOf(t, 3, 2, 1).After(second, begun.Add(settling/2))
	if third.sealer(begun.Add(settling/2)) != 2 || third.sealer(begun.Add(settling*3/2)) != 0 {
		t.Error("keys that change twice do not seal with the one of before")
	}
	l := newLogin(t, "corp", first)
	sealed, ok := l.sealSession(&session{ID: "i", User: "ann", Ends: 1}, "a.test")
	if !ok || newLogin(t, "corp", third).openSession(sealed, "a.test") == nil {
		t.Error("what the oldest key has sealed does not open")
	}
}

// sealerOf is the place of a key among others.
func sealerOf(t *testing.T, k *Keys, seed byte) int {
	return slices.Index(k.sums, keysOf(t, seed).sums[0])
}

// TestNoKeys: nobody knows the keys any more while a request runs: nothing opens, and nothing
// is sealed.
func TestNoKeys(t *testing.T) {
	l := newLogin(t, "corp", keysOf(t, 1))
	sealed, _ := l.sealSession(&session{ID: "i", User: "ann", Ends: 1}, "a.test")
	l.o.Keys = func() *Keys { return nil }
	if _, ok := l.sealSession(&session{ID: "i", User: "ann", Ends: 1}, "a.test"); ok || l.openSession(sealed, "a.test") != nil {
		t.Error("without keys a session is sealed or opens")
	}
	if s := l.sealAttempt(newAttempt(0, nil, time.Now(), "/", "https://a.test/"), "a.test"); s != "" {
		t.Error("without keys an attempt is sealed")
	}
}
