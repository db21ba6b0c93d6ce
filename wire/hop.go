package wire

import "bytes"

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
		element, list, _ = bytes.Cut(list, []byte(","))
		if bytes.EqualFold(bytes.Trim(element, " \t"), name) {
			return true
		}
	}
	return false
}
