package discovery

import "strings"

// shortPrefix is the length below which a word that differs by one letter probably
// means something else.
const shortPrefix = 5

// NearPrefix reports whether a tag was probably meant to begin with our prefix and does
// not: its first word is ours in another case, or with one letter missing, added,
// wrong, or swapped with its neighbour. Such a tag exposes nothing; its service is read
// all the same, so that its author sees a rejection.
//
// A digit, a dash or an underscore makes another name: ingress2 is a prefix that
// somebody chose.
func NearPrefix(tag, prefix string) bool {
	dot := strings.IndexByte(tag, '.')
	if dot < max(len(prefix)-1, 0) || dot > len(prefix)+1 || tag[:dot] == prefix || strings.IndexByte(tag[dot:], '=') < 0 {
		return false
	}
	word := tag[:dot]
	for len(word) > 0 && len(prefix) > 0 && lower(word[0]) == lower(prefix[0]) {
		word, prefix = word[1:], prefix[1:]
	}
	same := dot - len(word) // equal letters from the start
	for len(word) > 0 && len(prefix) > 0 && lower(word[len(word)-1]) == lower(prefix[len(prefix)-1]) {
		word, prefix = word[:len(word)-1], prefix[:len(prefix)-1]
		same++
	}
	if len(word)+len(prefix) > 0 && same+len(prefix) < shortPrefix {
		return false
	}
	switch {
	case len(word) == 2 && len(prefix) == 2:
		return lower(word[0]) == lower(prefix[1]) && lower(word[1]) == lower(prefix[0])
	case len(word) == 1 && len(prefix) <= 1:
		return 'a' <= lower(word[0]) && lower(word[0]) <= 'z'
	}
	return len(word) == 0 && len(prefix) <= 1
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}
