package wire

import (
	"bytes"
	"strings"
	"testing"
)

// TestEqualFold compares it with the same thing said byte by byte: every byte against
// every byte of a name, at places within the first eight bytes and behind them.
func TestEqualFold(t *testing.T) {
	const lower = "abcdefghijklmnopqrstuvwxyz0123456789-._:[]"
	for _, l := range lower {
		for b := range 256 {
			want := byte(b) == byte(l) || l >= 'a' && l <= 'z' && byte(b) == byte(l)-0x20
			for _, around := range []string{"", "a", "ab", "abc", "abcd", "x-forwarded", "sixteen-letters-"} {
				s := append([]byte(strings.ToUpper(around)), byte(b))
				s = append(s, around...)
				if got := EqualFold(s, around+string(l)+around); got != want {
					t.Errorf("%q and %q: %v", s, around+string(l)+around, got)
				}
			}
		}
	}
	if EqualFold([]byte("host"), "hos") || EqualFold([]byte("hos"), "host") || !EqualFold(nil, "") {
		t.Error("lengths")
	}
}

// TestCleanValue compares it with the same thing said byte by byte: every byte at
// every place of values of all lengths up to a few words.
func TestCleanValue(t *testing.T) {
	for n := range 26 {
		for at := range n {
			for b := range 256 {
				s := bytes.Repeat([]byte{'a'}, n)
				s[at] = byte(b)
				if got, want := cleanValue(s), b >= 0x20 && b != 0x7f || b == '\t'; got != want {
					t.Errorf("%q: %v", s, got)
				}
			}
		}
	}
}

// TestKinds finds each name, in any case, and nothing beside it.
func TestKinds(t *testing.T) {
	if n := len(kinds.names); n > 256 {
		t.Fatalf("%d names are more than the table can count", n)
	}
	for _, n := range kinds.names[1:] {
		if got := KindOf([]byte(strings.ToUpper(n.name))); got != n.kind {
			t.Errorf("%s is %d, not %d", n.name, got, n.kind)
		}
		for _, other := range []string{n.name + "x", n.name[1:], n.name[:len(n.name)-1] + "_"} {
			if got := KindOf([]byte(other)); got != Other && !known(other) {
				t.Errorf("%s is %d", other, got)
			}
		}
	}
}

func known(name string) bool {
	for _, n := range kinds.names[1:] {
		if n.name == name {
			return true
		}
	}
	return false
}
