package upstream

import "strings"

// Hostname returns host without its port, the brackets of an IPv6 address and the
// trailing dot, as in certificates.
func Hostname[T string | []byte](host T) T {
	s := host
	if n := len(s); n > 0 && s[0] == '[' {
		for i := range n {
			if s[i] == ']' {
				return s[1:i]
			}
		}
		return s
	}
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ':' {
			s = s[:i]
			break
		}
	}
	if n := len(s); n > 0 && s[n-1] == '.' {
		s = s[:n-1]
	}
	return s
}

// serverName is the TLS name of a connection for host: the tags' name, otherwise the
// host of the request or of the check, otherwise the address.
func (t *Target) serverName(host string) string {
	if !t.Scheme.Secure() {
		return ""
	}
	for _, name := range [...]string{t.TLSName, Hostname(host)} {
		if name != "" {
			return strings.ToLower(name)
		}
	}
	return Hostname(t.Address)
}
