package wire

import (
	"bytes"
	"net/netip"
)

// validHost reports whether s is host or host:port of RFC 9112 section 3.2, without
// parts that readers understand differently: no userinfo, percent, comma or other
// delimiter.
func validHost(s []byte) bool {
	if len(s) == 0 || len(s) > 255+6 {
		return false
	}
	if s[0] == '[' {
		return validBracket(s)
	}
	for i, b := range s {
		if b == ':' {
			return i > 0 && validPort(s[i+1:])
		}
		if class[b]&classHost == 0 {
			return false
		}
	}
	return true
}

// validBracket reports whether s is an IPv6 address in brackets, with or without a
// port. It must not have a zone, which only one machine understands, and must not be an
// IPvFuture.
func validBracket(s []byte) bool {
	end := bytes.IndexByte(s, ']')
	if end < 0 {
		return false
	}
	address, rest := s[1:end], s[end+1:]
	if len(rest) > 0 && (rest[0] != ':' || !validPort(rest[1:])) {
		return false
	}
	if bytes.IndexByte(address, '%') >= 0 {
		return false
	}
	a, err := netip.ParseAddr(string(address))
	return err == nil && a.Is6()
}

// validPort reports whether s is a number of up to five digits that fits into 16 bits.
// RFC 3986 section 3.2.3 allows an empty port.
func validPort(s []byte) bool {
	if len(s) > 5 {
		return false
	}
	port := 0
	for _, b := range s {
		if b < '0' || b > '9' {
			return false
		}
		port = port*10 + int(b-'0')
	}
	return port <= 65535
}
