package wire

import "bytes"

// DropNamed drops the fields that a Connection field names. What frames or
// routes the message cannot be dropped by naming it, nor what tells of the client:
// a trusted proxy that passes a stranger's Connection on would lose who that is.
func DropNamed(fields []Field, list []byte) {
	if EqualFold(list, "keep-alive") || EqualFold(list, "close") {
		return
	}
	for i := range fields {
		switch f := &fields[i]; f.Kind {
		case Dropped, Connection, ContentLength, TransferEncoding, Host, Trailer, TE, Expect, XRequestID, XSeraiHops:
		case Forwarded, XForwardedFor, XForwardedHost, XForwardedPort, XForwardedProto, XForwardedPrefix, XRealIP, Vouched: // by who sends them
		case Upgrade: // decided by itself
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
