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
		if element, list = nextElement(list); bytes.EqualFold(element, name) {
			return true
		}
	}
	return false
}
