package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"serai/wire"
)

// What an instance is told of its client (docs/forwarding.md): X-Forwarded-For,
// -Proto, -Host, -Port, -Prefix, X-Real-Ip and Forwarded (RFC 7239). Of a trusted
// peer X-Forwarded-For and -Proto are believed. All else is made here, unless the
// operator names it: balancers add to the first two and pass on whatever a
// stranger sends in the others.

// proto is what a client speaks: to us, or to a trusted proxy in front of us.
type proto uint8

const (
	plainHTTP proto = iota + 1
	secureHTTP
)

// What they are called. Nobody changes these bytes.
var https, http = []byte("https"), []byte("http")

// bytes is its name as fields have it.
func (p proto) bytes() []byte {
	if p == secureHTTP {
		return https
	}
	return http
}

// defaultPort is the port of a URL that names none.
func (p proto) defaultPort() uint16 {
	if p == secureHTTP {
		return 443
	}
	return 80
}

// protoOf reads X-Forwarded-Proto. Of a list the first element counts: what the
// client spoke to the first of several proxies. It is 0 for what says nothing.
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

// believed are the fields of trusted peers that are sent on as they are. Nil
// believes nothing.
type believed struct {
	kinds [1 << 8]bool // by wire.Kind
	names []string     // of Vouched fields
}

// trustable are the fields of a kind of their own that an operator may name.
var trustable = map[string]wire.Kind{
	"forwarded": wire.Forwarded, "x-forwarded-host": wire.XForwardedHost, "x-forwarded-port": wire.XForwardedPort,
	"x-forwarded-prefix": wire.XForwardedPrefix, "x-real-ip": wire.XRealIP,
}

// newBelieved reads the names of fields, in any case.
func newBelieved(names []string) (b believed, err error) {
	b.kinds[wire.XForwardedFor], b.kinds[wire.XForwardedProto] = true, true
	vouched := wire.VouchedNames()
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		kind, known := trustable[name]
		switch {
		case known:
			b.kinds[kind] = true
		case slices.Contains(vouched, name):
			b.names = append(b.names, name)
		case name == "x-forwarded-for" || name == "x-forwarded-proto":
			// always
		default:
			return b, fmt.Errorf("trusted field %q is not one of forwarded, x-forwarded-host, x-forwarded-port, x-forwarded-prefix, x-real-ip, %s", name, strings.Join(vouched, ", "))
		}
	}
	return b, nil
}

// field reports whether a field of a peer's is believed.
func (b *believed) field(f *wire.Field) bool {
	if b == nil {
		return false
	}
	if f.Kind != wire.Vouched {
		return b.kinds[f.Kind]
	}
	return slices.ContainsFunc(b.names, func(name string) bool { return wire.EqualFold(f.Name, name) })
}

// value returns a believed field's value, nil when there is none.
func (x *Exchange) believedValue(k wire.Kind) []byte {
	if x.believed == nil {
		return nil
	}
	for i := range x.Head.Fields {
		if f := &x.Head.Fields[i]; f.Kind == k && len(f.Value) > 0 {
			return f.Value
		}
	}
	return nil
}

// appendBelievedList appends the values of a believed field, each with a comma.
func (x *Exchange) appendBelievedList(dst []byte, k wire.Kind) []byte {
	if x.believed == nil {
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

// The names of the fields that are made here. Nobody changes their bytes.
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

// addForwarded adds what the instance is told of the client. Stripped is what of
// the path it does not get to see, empty for nothing.
func (x *Exchange) addForwarded(fields []wire.Field, stripped []byte) []wire.Field {
	v := &x.values
	peer := x.PeerText
	if peer == nil {
		peer = v.Keep(x.Peer.Addr().AppendTo(v.Start()))
	}
	chain, client := peer, peer
	if x.believed != nil {
		chain = v.Keep(append(x.appendBelievedList(v.Start(), wire.XForwardedFor), peer...))
	}
	if x.Client != x.Peer.Addr() {
		client = v.Keep(x.Client.AppendTo(v.Start()))
	}
	port := x.believedValue(wire.XForwardedPort)
	if port == nil {
		port = v.Keep(strconv.AppendUint(v.Start(), uint64(x.port()), 10))
	}
	if said := x.believedValue(wire.XRealIP); said != nil {
		client = said
	}
	fields = append(fields,
		wire.Field{Name: nameForwardedFor, Value: chain, Kind: wire.XForwardedFor},
		wire.Field{Name: nameForwardedProto, Value: x.proto.bytes(), Kind: wire.XForwardedProto},
		wire.Field{Name: nameForwardedHost, Value: x.askedHost(), Kind: wire.XForwardedHost},
		wire.Field{Name: nameForwardedPort, Value: port, Kind: wire.XForwardedPort},
		wire.Field{Name: nameRealIP, Value: client, Kind: wire.XRealIP},
		wire.Field{Name: nameForwarded, Value: v.Keep(x.appendStandard(v.Start(), peer)), Kind: wire.Forwarded},
	)
	if prefix := x.believedValue(wire.XForwardedPrefix); stripped != nil || prefix != nil {
		value := v.Keep(append(append(v.Start(), prefix...), stripped...))
		fields = append(fields, wire.Field{Name: nameForwardedPrefix, Value: value, Kind: wire.XForwardedPrefix})
	}
	return fields
}

// askedHost is the host that the client asked for, as far as it is known.
func (x *Exchange) askedHost() []byte {
	if said := x.believedValue(wire.XForwardedHost); said != nil {
		return said
	}
	return x.Head.Host
}

// port is the port that the client asked, as far as it is known: behind a proxy
// that speaks something else to us than the client does to it, the usual one of
// that.
func (x *Exchange) port() uint16 {
	if x.OverHTTPS() != x.Secure {
		return x.proto.defaultPort()
	}
	return x.Local.Port()
}

// appendStandard appends the value of Forwarded: what is believed of it, or else
// what a trusted peer's X-Forwarded-For says, converted (RFC 7239 section 7.4),
// and behind that the peer, whose address as text is given. The first element says
// what the client spoke and asked for.
func (x *Exchange) appendStandard(dst, peer []byte) []byte {
	before := len(dst)
	if x.believedValue(wire.Forwarded) != nil {
		dst = x.appendBelievedList(dst, wire.Forwarded)
	} else if x.believed != nil {
		dst = x.appendConverted(dst)
	}
	if len(dst) == before {
		return appendElement(dst, x.Peer.Addr(), peer, x.askedHost(), x.proto)
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
			dst = appendElement(dst, addr, nil, x.askedHost(), x.proto)
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

// appendElement appends one element of Forwarded. Text is the node's address where it
// has been made.
func appendElement(dst []byte, node netip.Addr, text, host []byte, spoken proto) []byte {
	dst = append(dst, "for="...)
	dst = appendNode(dst, node, text)
	dst = append(dst, ";host=\""...)
	for _, b := range host {
		if b == '"' || b == '\\' { // a trusted peer's X-Forwarded-Host may be anything
			dst = append(dst, '\\')
		}
		dst = append(dst, b)
	}
	dst = append(dst, "\";proto="...)
	return append(dst, spoken.bytes()...)
}

// appendNode appends an address as RFC 7239 section 6 writes it. Text is the address
// where it has been made.
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
