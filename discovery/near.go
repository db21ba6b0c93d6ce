package discovery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// shortPrefix is the length below which a word that differs by one letter probably
// means something else.
const shortPrefix = 5

// maxAround is how many bytes of blanks and the like there may be around the prefix.
const maxAround = 64

// NearPrefix reports whether a tag was probably meant to begin with our prefix and does
// not: see SplitNear.
func NearPrefix(tag, prefix string) bool {
	_, _, near := SplitNear(tag, prefix)
	return near
}

// SplitNear reports whether a tag was probably meant to begin with our prefix and does
// not, and returns its first word and what follows that. The word is ours in another case,
// or with one letter missing, added, wrong, or swapped with its neighbour; or there are
// blanks, quotes or invisible characters around it, as split(",", "a, b") leaves them in a
// job, or another sign than a dot behind it. Such a tag exposes nothing; its service is read
// all the same, so that its author sees a rejection.
//
// A digit, a dash or an underscore makes another name: ingress2 is a prefix that
// somebody chose.
func SplitNear(tag, prefix string) (word, rest string, near bool) {
	end := strings.IndexByte(tag, '=')
	if end < 0 || prefix == "" {
		return "", "", false
	}
	end = min(end, utf8.UTFMax*(len(prefix)+1)+maxAround)
	before := end - len(strings.TrimLeftFunc(tag[:end], unseen))
	at := strings.IndexFunc(tag[before:end], separates)
	if at < 0 {
		return "", "", false
	}
	at += before
	sign, size := utf8.DecodeRuneInString(tag[at:])
	word, rest = strings.TrimRightFunc(tag[before:at], unseen), tag[at+size:]
	if after := strings.TrimLeftFunc(tag[at:end], unseen); unseen(sign) { // perhaps before the dot
		if next, size := utf8.DecodeRuneInString(after); separates(next) {
			sign, rest = next, tag[end-len(after)+size:]
		}
	}
	exact := word == prefix
	switch {
	case exact && sign == '.' && tag[before+len(word)] == '.' && before == 0: // it is ours
		return "", "", false
	case exact || strings.EqualFold(word, prefix):
	case sign != '.' || !oneLetterOff(strings.Map(visible, word), prefix):
		return "", "", false
	}
	return word, strings.TrimLeftFunc(rest, unseen), true
}

// separates reports whether a word ends before r: at a dot, or what was written in its place.
func separates(r rune) bool {
	switch r {
	case '.', ':', '/', ',', ';', '\uff0e', '\u3002':
		return true
	}
	return unicode.IsSpace(r)
}

// unseen reports whether r is easily overlooked: blanks, quotes, and what has no width.
func unseen(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == '"' || r == '\'' || r == '`'
}

// visible drops what has no width.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}

// oneLetterOff reports whether a word differs from ours by one letter or none, whatever its case.
func oneLetterOff(word, prefix string) bool {
	if len(word) > utf8.UTFMax*(len(prefix)+1) {
		return false
	}
	w, p := []rune(strings.ToLower(word)), []rune(strings.ToLower(prefix))
	all := len(w)
	for len(w) > 0 && len(p) > 0 && w[0] == p[0] {
		w, p = w[1:], p[1:]
	}
	same := all - len(w) // equal letters from the start
	for len(w) > 0 && len(p) > 0 && w[len(w)-1] == p[len(p)-1] {
		w, p = w[:len(w)-1], p[:len(p)-1]
		same++
	}
	if len(w)+len(p) > 0 && same+len(p) < shortPrefix {
		return false
	}
	switch {
	case len(w) == 2 && len(p) == 2:
		return w[0] == p[1] && w[1] == p[0]
	case len(w) == 1 && len(p) <= 1:
		return unicode.IsLetter(w[0])
	}
	return len(w) == 0 && len(p) <= 1
}
