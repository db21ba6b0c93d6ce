package wire

// validHost reports whether s is host or host:port of RFC 9112 section 3.2,
// without what only confuses: no userinfo, percent, comma or other delimiter.
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

// validBracket reports whether s is an IPv6 address in brackets and a port.
func validBracket(s []byte) bool {
	for i := 1; i < len(s); i++ {
		switch b := s[i]; {
		case b == ']':
			rest := s[i+1:]
			return i > 2 && (len(rest) == 0 || rest[0] == ':' && validPort(rest[1:]))
		case b != ':' && b != '.' && class[b]&classHex == 0:
			return false
		}
	}
	return false
}

// validPort reports whether s is up to five digits. The empty port is allowed
// by RFC 3986 section 3.2.3.
func validPort(s []byte) bool {
	if len(s) > 5 {
		return false
	}
	for _, b := range s {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}
