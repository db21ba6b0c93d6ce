package proxy

import (
	"bytes"
	"net/netip"
	"strconv"

	"serai/wire"
)

// The fields that describe the client to an instance (docs/forwarding.md):
// X-Forwarded-For, -Proto, -Host, -Port, -Prefix, X-Real-Ip and Forwarded (RFC 7239).
// serai makes all of them. From a trusted peer it accepts X-Forwarded-For and -Proto, and
// others only if the operator names them: balancers set the first two, and pass on
// whatever a stranger sends in the others.

// proto is the protocol of the client, to serai or to a trusted proxy in front of it.
type proto uint8

const (
	plainHTTP proto = iota + 1
	secureHTTP
)

// The names of the protocols. Never modified.
var https, http = []byte("https"), []byte("http")

// bytes is the protocol's name in fields.
func (p proto) bytes() []byte {
	if p == secureHTTP {
		return https
	}
	return http
}

// defaultPort is the port of a URL without one.
func (p proto) defaultPort() uint16 {
	if p == secureHTTP {
		return 443
	}
	return 80
}

// protoOf reads X-Forwarded-Proto. In a list the first element counts: it is what the
// client spoke to the first of several proxies. The result is 0 for any other value.
func protoOf(value []byte) proto {
	first, _, _ := bytes.Cut(value, []byte(","))
	switch first = bytes.TrimSpace(first); {
	case wire.EqualFold(first, "https"), wire.EqualFold(first, "wss"):
		return secureHTTP
	case wire.EqualFold(first, "http"), wire.EqualFold(first, "ws"):
		return plainHTTP
	}
	return 0
}

// trustedValue returns the value of a trusted field, nil when there is none.
func (x *Exchange) trustedValue(k wire.Kind) []byte {
	if x.trusted == nil {
		return nil
	}
	for i := range x.Head.Fields {
		if f := &x.Head.Fields[i]; f.Kind == k && len(f.Value) > 0 {
			return f.Value
		}
	}
	return nil
}

// appendTrustedList appends all values of a trusted field, each followed by a comma.
func (x *Exchange) appendTrustedList(dst []byte, k wire.Kind) []byte {
	if x.trusted == nil {
		return dst
	}
	for i := range x.Head.Fields {
		if f := &x.Head.Fields[i]; f.Kind == k && len(f.Value) > 0 {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// The names of the fields that serai makes. Never modified.
var (
	nameForwardedFor    = []byte("X-Forwarded-For")
	nameForwardedProto  = []byte("X-Forwarded-Proto")
	nameForwardedHost   = []byte("X-Forwarded-Host")
	nameForwardedPort   = []byte("X-Forwarded-Port")
	nameForwardedPrefix = []byte("X-Forwarded-Prefix")
	nameRealIP          = []byte("X-Real-Ip")
	nameForwarded       = []byte("Forwarded")
	nameRequestID       = []byte("X-Request-Id")
	nameHops            = []byte("X-Serai-Hops")
	nameVia             = []byte("Via")
)

// addForwarded adds the fields that describe the client. Stripped is the part of the
// path that the instance does not see, empty for none.
func (x *Exchange) addForwarded(fields []wire.Field, stripped []byte) []wire.Field {
	v := &x.values
	peer := x.PeerText
	if peer == nil {
		peer = v.Keep(x.Peer.Addr().AppendTo(v.Start()))
	}
	chain, client := peer, peer
	if x.trusted != nil {
		chain = v.Keep(append(x.appendTrustedList(v.Start(), wire.XForwardedFor), peer...))
	}
	if x.Client != x.Peer.Addr() {
		client = v.Keep(x.Client.AppendTo(v.Start()))
	}
	port := x.trustedValue(wire.XForwardedPort)
	switch {
	case port != nil:
	case x.PortText != nil && x.OverHTTPS() == x.Secure:
		port = x.PortText
	default:
		port = v.Keep(strconv.AppendUint(v.Start(), uint64(x.port()), 10))
	}
	if said := x.trustedValue(wire.XRealIP); said != nil {
		client = said
	}
	if len(chain) > 0 { // serai asks for an error page itself, for nobody
		fields = wire.Add(fields, nameForwardedFor, chain, wire.XForwardedFor)
	}
	fields = wire.Add(fields, nameForwardedProto, x.proto.bytes(), wire.XForwardedProto)
	fields = wire.Add(fields, nameForwardedHost, x.requestedHost(), wire.XForwardedHost)
	fields = wire.Add(fields, nameForwardedPort, port, wire.XForwardedPort)
	if len(client) > 0 {
		fields = wire.Add(fields, nameRealIP, client, wire.XRealIP)
	}
	fields = wire.Add(fields, nameForwarded, v.Keep(x.appendForwardedValue(v.Start(), peer)), wire.Forwarded)
	if prefix := x.trustedValue(wire.XForwardedPrefix); stripped != nil || prefix != nil {
		value := v.Keep(append(append(v.Start(), prefix...), stripped...))
		fields = wire.Add(fields, nameForwardedPrefix, value, wire.XForwardedPrefix)
	}
	return fields
}

// requestedHost is the host that the client requested, as far as it is known.
func (x *Exchange) requestedHost() []byte {
	if said := x.trustedValue(wire.XForwardedHost); said != nil {
		return said
	}
	return x.Head.Host
}

// port is the port that the client connected to, as far as it is known. If a proxy in
// front of serai speaks another protocol to the client than to serai, it is the default
// port of the client's protocol.
func (x *Exchange) port() uint16 {
	if x.OverHTTPS() != x.Secure {
		return x.proto.defaultPort()
	}
	return x.Local.Port()
}

// appendForwardedValue appends the value of Forwarded: the trusted part of it, or else
// a trusted peer's X-Forwarded-For in its syntax (RFC 7239 section 7.4), and then the
// peer, whose address is given as text. The first element has the client's protocol and
// host.
func (x *Exchange) appendForwardedValue(dst, peer []byte) []byte {
	before := len(dst)
	if x.trustedValue(wire.Forwarded) != nil {
		dst = x.appendTrustedList(dst, wire.Forwarded)
	} else if x.trusted != nil {
		dst = x.appendConverted(dst)
	}
	if len(dst) == before {
		return appendElement(dst, x.Peer.Addr(), peer, x.requestedHost(), x.proto)
	}
	spoken := plainHTTP
	if x.Secure {
		spoken = secureHTTP
	}
	return appendElement(dst, x.Peer.Addr(), peer, x.Head.Host, spoken)
}

// maxConverted bounds the addresses that are converted. A stranger may write thousands, of
// two bytes each, and each of them would become six times as long.
const maxConverted = 100

// appendConverted appends an element for each address in X-Forwarded-For, the last ones
// where there are too many: those are what trusted proxies have written.
func (x *Exchange) appendConverted(dst []byte) []byte {
	left := 0
	for range x.forwardedFor {
		left++
	}
	first := true
	for element := range x.forwardedFor {
		if left--; left >= maxConverted {
			continue
		}
		addr, _ := parseAddr(element)
		if first {
			dst = appendElement(dst, addr, nil, x.requestedHost(), x.proto)
		} else {
			dst = append(dst, "for="...)
			dst = appendNode(dst, addr, nil)
		}
		dst = append(dst, ", "...)
		first = false
	}
	return dst
}

// forwardedFor goes through the elements of X-Forwarded-For in their order.
func (x *Exchange) forwardedFor(yield func(element []byte) bool) {
	for i := range x.Head.Fields {
		if x.Head.Fields[i].Kind != wire.XForwardedFor {
			continue
		}
		for list := x.Head.Fields[i].Value; len(list) > 0; {
			var element []byte
			element, list, _ = bytes.Cut(list, []byte(","))
			if element = bytes.TrimSpace(element); len(element) > 0 && !yield(element) {
				return
			}
		}
	}
}

// appendElement appends one element of Forwarded. Text is the node's address as text,
// if it is known already.
func appendElement(dst []byte, node netip.Addr, text, host []byte, spoken proto) []byte {
	dst = append(dst, "for="...)
	dst = appendNode(dst, node, text)
	dst = append(dst, ";host=\""...)
	dst = appendInQuotes(dst, host)
	dst = append(dst, "\";proto="...)
	return append(dst, spoken.bytes()...)
}

// appendInQuotes appends the inside of a quoted string (RFC 9110 section 5.6.4). Only a
// trusted peer's X-Forwarded-Host may need a backslash: it may be anything.
func appendInQuotes(dst, s []byte) []byte {
	if bytes.IndexByte(s, '"') < 0 && bytes.IndexByte(s, '\\') < 0 {
		return append(dst, s...)
	}
	for _, b := range s {
		if b == '"' || b == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, b)
	}
	return dst
}

// appendNode appends an address in the syntax of RFC 7239 section 6. Text is the
// address as text, if it is known already.
func appendNode(dst []byte, a netip.Addr, text []byte) []byte {
	if !a.IsValid() {
		return append(dst, "unknown"...)
	}
	quoted := !a.Is4()
	if quoted {
		dst = append(dst, "\"["...)
	}
	if text != nil {
		dst = append(dst, text...)
	} else {
		dst = a.AppendTo(dst)
	}
	if quoted {
		dst = append(dst, "]\""...)
	}
	return dst
}
