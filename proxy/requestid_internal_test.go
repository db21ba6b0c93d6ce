package proxy

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRequestIDsAreHexadecimal: each byte of a request ID is a digit of the random number,
// and every digit occurs at every place.
func TestRequestIDsAreHexadecimal(t *testing.T) {
	for range 1000 {
		n := rand.Uint64() & nibbles
		want := ""
		for i := range 8 {
			want += fmt.Sprintf("%x", n>>(8*i)&15)
		}
		digits := hexDigits(n)
		got := ""
		for i := range 8 {
			got += string(rune(digits >> (8 * i) & 255))
		}
		if got != want {
			t.Fatalf("%016x: %q, want %q", n, got, want)
		}
	}
	var x Exchange
	var seen [len(x.requestID)]map[byte]bool
	for range 1000 {
		x.makeID()
		for i, b := range x.requestID {
			if seen[i] == nil {
				seen[i] = map[byte]bool{}
			}
			seen[i][b] = true
		}
	}
	for i := range seen {
		if len(seen[i]) != 16 {
			t.Errorf("place %d has %d digits", i, len(seen[i]))
		}
	}
}
