package proxy

import (
	"bytes"
	"net/netip"

	"serai/upstream"
	"serai/wire"
)

var _ upstream.Attributes = (*Exchange)(nil)

// Header returns the first value of a request header, nil when absent. The
// name must be lower-case.
func (x *Exchange) Header(name string) []byte { return wire.Get(x.Head.Fields, name) }

// Cookie returns the value of a request cookie, the nth of that name from 0 on, nil
// when absent (RFC 6265 section 4.2).
func (x *Exchange) Cookie(name string, nth int) []byte {
	for named, value := range wire.Cookies(x.Head.Fields) {
		if string(named) != name {
			continue
		}
		if nth == 0 {
			return unquoted(value)
		}
		nth--
	}
	return nil
}

// unquoted is a cookie's value without its quotes; empty, and not nil, where there is none.
func unquoted(v []byte) []byte {
	for len(v) > 0 && v[0] == '"' {
		v = v[1:]
	}
	for len(v) > 0 && v[len(v)-1] == '"' {
		v = v[:len(v)-1]
	}
	return v
}

// ClientIP returns the client's address, 4 or 16 bytes.
func (x *Exchange) ClientIP() []byte {
	if x.Client.Is4() {
		a := x.Client.As4()
		return append(x.ip[:0], a[:]...)
	}
	a := x.Client.As16()
	return append(x.ip[:0], a[:]...)
}

// identifyClient finds the client behind a trusted peer: the last address of
// X-Forwarded-For that is not itself a trusted proxy's; and what it speaks.
func (p *Proxy) identifyClient(x *Exchange) {
	x.Client = x.Peer.Addr()
	x.proto = plainHTTP
	if x.Secure {
		x.proto = secureHTTP
	}
	if !p.trusts(x.Client) {
		return
	}
	x.believed = &p.believed
	if said := protoOf(x.Header("x-forwarded-proto")); said != 0 {
		x.proto = said
	}
	for i := len(x.Head.Fields) - 1; i >= 0; i-- {
		f := &x.Head.Fields[i]
		if f.Kind != wire.XForwardedFor {
			continue
		}
		for list := f.Value; len(list) > 0; {
			comma := bytes.LastIndexByte(list, ',')
			element := bytes.TrimSpace(list[comma+1:])
			list = list[:max(comma, 0)]
			if len(element) == 0 {
				continue // RFC 9110 section 5.6.1.2
			}
			addr, ok := parseAddr(element)
			if !ok {
				x.obscured = true // "unknown", a name, the path of a socket
				return
			}
			x.Client = addr
			if !p.trusts(addr) {
				return
			}
		}
	}
}

func (p *Proxy) trusts(a netip.Addr) bool {
	for _, prefix := range p.options.TrustedProxies {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// parseAddr parses an address, also with a port, or in the brackets of one, as some
// balancers write it.
func parseAddr(s []byte) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(string(s)); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(string(s)); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		if a, err := netip.ParseAddr(string(s[1 : n-1])); err == nil && a.Is6() {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}
