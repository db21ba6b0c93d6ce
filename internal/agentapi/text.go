package agentapi

import (
	"bytes"
	"strings"
	"unicode"
)

// MaxExcerpt is how many bytes an error shows of an unexpected answer.
const MaxExcerpt = 200

// Excerpt makes the beginning of an answer fit for a log line: short, printable, and
// without the token if the answer contains it.
func Excerpt(b []byte, token string) string {
	// Check the whole answer: a cut must not leave half of the token, nor that of a Reader.
	cut := len(b) >= maxBegin
	if token != "" && bytes.Contains(b, []byte(token)) {
		b = bytes.ReplaceAll(b, []byte(token), []byte(hidden))
	}
	if cut {
		b = withoutHalf(b, token)
	}
	return Shorten(string(b[:min(len(b), 16*MaxExcerpt)]), MaxExcerpt)
}

// withoutHalf returns b without the beginning of a token at its end.
func withoutHalf(b []byte, token string) []byte {
	for n := min(len(token), len(b)); n > 0; n-- {
		if rest, ok := bytes.CutSuffix(b, []byte(token[:n])); ok {
			return rest
		}
	}
	return b
}

// Shorten makes s printable, one line, and at most limit bytes and dots long.
func Shorten(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '.'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		cut := limit
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "..."
	}
	return s
}

// hidden replaces a token.
const hidden = "[token]"

// Redact hides a token in a text; an empty one hides nothing.
func Redact(s, token string) string {
	if token == "" {
		return s
	}
	return strings.ReplaceAll(s, token, hidden)
}
