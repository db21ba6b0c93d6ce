package router

import "strings"

// maxEcho bounds how much of a foreign string is repeated, in bytes.
const maxEcho = 200

// printable makes foreign bytes safe to show in a terminal or a page: what is not
// printable ASCII is escaped, what is long is cut.
func printable(s string) string { return printableUpTo(s, maxEcho) }

// printableUpTo is printable with another bound, in bytes.
func printableUpTo(s string, most int) string {
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	plain := !cut
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			const hex = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	if cut {
		b.WriteString("...")
	}
	return b.String()
}

// quote is printable in quotes.
func quote(s string) string { return `"` + printable(s) + `"` }

// clean reports whether s holds no control character.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// trim removes blanks at both ends. It leaves other white space, which clean then
// reports.
func trim(s string) string { return strings.Trim(s, " ") }

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlnum(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9'
}
