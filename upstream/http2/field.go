package http2

import (
	"serai/wire"
)

// nameBytes has the bytes that a field name may have in HTTP/2: those of a token
// (RFC 9110 section 5.6.2) without upper-case letters (RFC 9113 section 8.2.1).
var nameBytes = func() (t [256]bool) {
	for _, b := range []byte("0123456789abcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~") {
		t[b] = true
	}
	return t
}()

// checkName reports what is wrong with a field name that is no pseudo-field's.
func checkName(name string) *wire.Error {
	if name == "" {
		return wire.ErrFieldName
	}
	for i := range len(name) {
		if !nameBytes[name[i]] {
			if name[i] >= 'A' && name[i] <= 'Z' {
				return errUpperCase
			}
			return wire.ErrFieldName
		}
	}
	return nil
}

// checkValue reports what is wrong with a field value: a control character but
// HTAB, or a blank at an end (RFC 9113 section 8.2.1).
func checkValue(value string) *wire.Error {
	if n := len(value); n > 0 && (blank(value[0]) || blank(value[n-1])) {
		return wire.ErrFieldValue
	}
	for i := range len(value) {
		if b := value[i]; b < 0x20 && b != '\t' || b == 0x7f {
			return wire.ErrFieldValue
		}
	}
	return nil
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// kindOf returns the kind of a field of an answer.
func kindOf(name []byte) wire.Kind {
	kind := wire.KindOf(name)
	if kind == wire.Other && !wire.OnlyTrailers(name) {
		return wire.Lookalike
	}
	return kind
}

// ofConnection reports whether a kind of field has no place in HTTP/2 (RFC 9113
// section 8.2.2).
func ofConnection(k wire.Kind) bool {
	switch k {
	case wire.Connection, wire.ProxyConnection, wire.KeepAlive, wire.TransferEncoding, wire.Upgrade:
		return true
	}
	return false
}

// parseStatus reads a :status: three digits (RFC 9113 section 8.3.2).
func parseStatus(value string) (status int, ok bool) {
	if len(value) != 3 {
		return 0, false
	}
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		status = status*10 + int(value[i]-'0')
	}
	return status, status >= 100
}

// parseLength reads a Content-Length.
func parseLength(value []byte) (n int64, ok bool) {
	const longest = 18 // digits, within an int64
	if len(value) == 0 || len(value) > longest {
		return 0, false
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, true
}
