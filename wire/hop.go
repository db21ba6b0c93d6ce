package wire

import "bytes"

// options counts those of a message's Connection fields. The name of each field is
// compared with each of them: without a bound that would take longer than all the rest.
type options int

// add counts those of one field, of at most so many.
func (n *options) add(list []byte, most int) error {
	if *n += options(bytes.Count(list, comma) + 1); int(*n) > most {
		return ErrOptionCount
	}
	return nil
}

var comma = []byte(",")

// DropNamed drops the fields that a Connection field names. It does not drop fields
// that frame or route the message. It does not drop those that describe the client
// either: a trusted proxy that passes on a stranger's Connection field would lose who
// the client is.
func DropNamed(fields []Field, list []byte) {
	if EqualFold(list, "keep-alive") || EqualFold(list, "close") {
		return
	}
	for i := range fields {
		switch f := &fields[i]; f.Kind {
		case Dropped, Connection, ContentLength, TransferEncoding, Host, Trailer, TE, Expect, XRequestID, XSeraiHops:
		case Forwarded, XForwardedFor, XForwardedHost, XForwardedPort, XForwardedProto, XForwardedPrefix, XRealIP, ProxyOnly: // decided by whether the peer is trusted
		case Upgrade: // decided elsewhere
		default:
			if hasName(list, f.Name) {
				f.Kind = Dropped
			}
		}
	}
}

// hasName reports whether a comma-separated list names a field.
func hasName(list, name []byte) bool {
	for len(list) > 0 {
		var element []byte
		if element, list = nextElement(list); bytes.EqualFold(element, name) {
			return true
		}
	}
	return false
}

// offered returns the protocols that a request's Upgrade fields offer, in their order,
// without h2c: the instance would switch to it, and serai would not understand what
// follows. The others are still the client's to ask for (RFC 9110 section 7.8).
func offered(fields []Field) (list []byte) {
	own := false // list is not a field's
	for i := range fields {
		f := &fields[i]
		switch {
		case f.Kind != Upgrade || bytes.EqualFold(f.Value, list):
		case list == nil && !HasToken(f.Value, "h2c"):
			list, own = f.Value, false
		default:
			if !own {
				list, own = bytes.Clone(list), true
			}
			list = appendProtocols(list, f.Value)
		}
	}
	return list
}

// appendProtocols appends the elements of an Upgrade field, without h2c.
func appendProtocols(list, field []byte) []byte {
	for len(field) > 0 {
		var element []byte
		element, field = nextElement(field)
		if len(element) == 0 || EqualFold(element, "h2c") {
			continue
		}
		if len(list) > 0 {
			list = append(list, ", "...)
		}
		list = append(list, element...)
	}
	return list
}
