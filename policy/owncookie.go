package policy

import "bytes"

// Cookies whose name begins so are serai's own: sessions, and logins under way. No instance
// gets one, also not those of other routes of the host, to which browsers send them too.
const (
	// SecureCookie is bound to one host by browsers (RFC 6265bis section 4.1.3.2).
	SecureCookie = "__Host-serai-"
	// PlainCookie is for plain HTTP, where browsers take no SecureCookie.
	PlainCookie = "insecure-serai-"
)

// HasOwnCookie reports whether the value of a Cookie field has a cookie of serai's own.
func HasOwnCookie(value []byte) bool {
	if !bytes.Contains(value, []byte("-serai-")) {
		return false
	}
	for rest := value; len(rest) > 0; {
		var pair []byte
		if pair, rest, _ = bytes.Cut(rest, []byte{';'}); ownCookie(pair) {
			return true
		}
	}
	return false
}

// AppendForeignCookies appends the value of a Cookie field without the cookies of serai's
// own.
func AppendForeignCookies(dst, value []byte) []byte {
	before := len(dst)
	for rest := value; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte{';'})
		if ownCookie(pair) {
			continue
		}
		if len(dst) > before {
			dst = append(dst, ';')
		} else {
			pair = bytes.TrimLeft(pair, " \t")
		}
		dst = append(dst, pair...)
	}
	return dst
}

func ownCookie(pair []byte) bool {
	pair = bytes.TrimLeft(pair, " \t")
	return bytes.HasPrefix(pair, []byte(SecureCookie)) || bytes.HasPrefix(pair, []byte(PlainCookie))
}
