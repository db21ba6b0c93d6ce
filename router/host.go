package router

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// maxHost is the length of the longest host name (RFC 1035 section 2.3.4).
const maxHost = 253

// parseHosts reads the host tag.
func parseHosts(d *draft, value string) *flaw {
	return eachElement(value, "host", func(s string) *flaw {
		host, f := parseHostPattern(s)
		if f == nil {
			d.Hosts = appendNew(d.Hosts, host)
		}
		return f
	})
}

// parseHostPattern returns a host pattern in the form in which it is looked up.
func parseHostPattern(s string) (string, *flaw) {
	if s == "*" {
		return s, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && a.Zone() == "" {
		return hostOfAddr(a), nil
	}
	if strings.Contains(s, "://") || strings.Contains(s, "/") {
		return "", &flaw{fmt.Sprintf("host %s is a URL or has a path", quote(s)), "only the name in host; its path in path"}
	}
	if strings.Contains(s, ":") {
		return "", colonInHost(s)
	}
	// Check before lower-casing: U+212A (Kelvin sign) would become a k.
	if !isASCII(s) {
		return "", &flaw{fmt.Sprintf("host %s is not ASCII", quote(s)), "the name as DNS has it, " + inDNS(s)}
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	label, wild := strings.CutPrefix(name, "*.")
	switch {
	case strings.Contains(label, "*"):
		return "", &flaw{fmt.Sprintf("host %s has a star that is not its whole first label", quote(s)), "*.example.org for exactly one label, or * for any host"}
	case !validHostName(label) || len(name) > maxHost:
		return "", &flaw{fmt.Sprintf("host %s is not a host name", quote(s)), "letters, digits, dashes and underscores in labels of up to 63, joined by dots"}
	case wild && endsInNumber(label):
		return "", &flaw{fmt.Sprintf("host %s stands for no name, and of an address every number counts", quote(s)), "each address by itself, or * for any host"}
	case endsInNumber(label):
		// A client would take it for an IPv4 address (WHATWG URL, "ends in a number"),
		// which it is not.
		return "", &flaw{fmt.Sprintf("host %s is neither a name nor an address", quote(s)), "a name or a whole IP address"}
	}
	return name, nil
}

// colonInHost says what is wrong with a host that has a colon and is no address.
func colonInHost(s string) *flaw {
	name, _, _ := strings.Cut(s, ":")
	if at := strings.LastIndex(s, "]:"); at > 0 {
		name = s[:at+1]
	}
	bare := strings.Trim(name, "[]")
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	switch {
	case err == nil: // parseHostPattern takes all but this
		return &flaw{fmt.Sprintf("host %s has a zone, which no client sends", quote(s)), "host=" + hostOfAddr(a.WithZone(""))}
	case strings.Count(s[len(name):], ":") == 1 && (validHostName(bare) || isAddr(bare) || bare == "*"):
		return &flaw{fmt.Sprintf("host %s has a port", quote(s)), fmt.Sprintf("host=%s, which answers on every port", printable(name))}
	}
	return &flaw{fmt.Sprintf("host %s is neither a name nor an address", quote(s)), "a name or a whole IP address"}
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// hostOfAddr returns an address in the form of a Host field.
func hostOfAddr(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// validHostName reports whether s consists of the labels of a host name. Names with
// underscores exist, whatever RFC 952 says.
func validHostName(s string) bool {
	if len(s) == 0 || len(s) > maxHost {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
				return false
			}
			continue
		}
		if n := i - start; n == 0 || n > 63 || s[start] == '-' || s[i-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

func endsInNumber(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// inDNS is what a browser would look up for a name (UTS 46), as advice. Whether a
// letter that looks like another one was meant is for the author of the tag to judge.
func inDNS(s string) string {
	name, wild := strings.CutPrefix(s, "*.")
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil || !validHostName(ascii) {
		return "xn--..."
	}
	if wild {
		ascii = "*." + ascii
	}
	return "host=" + ascii
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// parent returns what follows the first label of a host name, empty when it
// has only one or is an address.
func parent(host []byte) []byte {
	for i, b := range host {
		switch b {
		case '[':
			return nil
		case '.':
			if i == 0 {
				return nil
			}
			return host[i+1:]
		}
	}
	return nil
}

// normalBuffer has room for a host in normal form: a name with its dot, or the longest
// IPv6 address in brackets.
type normalBuffer [maxHost + 3]byte

// AppendHost appends the host of a Host field in the form in which routes are looked
// up, and nothing if it cannot be a host.
func AppendHost(dst, host []byte) []byte {
	var buf normalBuffer
	return append(dst, normalHost(host, &buf)...)
}

// normalHost returns the host of a Host field in the form in which hosts are looked up:
// lower case, without port and trailing dot, addresses in their shortest form. The
// result is host itself if that is normal already, and lies in buf otherwise. It is nil
// for what cannot be a host.
func normalHost(host []byte, buf *normalBuffer) []byte {
	if len(host) > 0 && host[0] == '[' {
		return normalBracket(host, buf)
	}
	upper := false
	for i, b := range host {
		if b == ':' {
			host = host[:i]
			break
		}
		upper = upper || 'A' <= b && b <= 'Z'
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) == 0 || len(host) > maxHost {
		return nil
	}
	if !upper {
		return host
	}
	for i, b := range host {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		buf[i] = b
	}
	return buf[:len(host)]
}

// normalBracket does the same for an IPv6 address in brackets.
func normalBracket(host []byte, buf *normalBuffer) []byte {
	const longest = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]")
	end := 0
	for i := 1; i < len(host) && i < longest; i++ {
		if host[i] == ']' {
			end = i
			break
		}
		buf[i-1] = host[i]
	}
	if end == 0 {
		return nil
	}
	var a [16]byte
	if !parseIPv6(buf[:end-1], &a) {
		return nil
	}
	buf[0] = '['
	out := netip.AddrFrom16(a).AppendTo(buf[:1])
	return append(out, ']')
}

// parseIPv6 is netip.ParseAddr for IPv6 without zone, from bytes.
func parseIPv6(s []byte, a *[16]byte) bool {
	addr, err := netip.ParseAddr(string(s))
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return false
	}
	*a = addr.As16()
	return true
}

// cutWildcard returns what follows the "*." of a pattern.
func cutWildcard(pattern string) (suffix string, wild bool) {
	return strings.CutPrefix(pattern, "*.")
}
