package wire

// OutgoingRequest is the head of a request to an instance, as data. It does not depend
// on the HTTP version: AppendRequest encodes it as HTTP/1.1.
type OutgoingRequest struct {
	Method []byte
	// Target is the path with its query, or "*".
	Target []byte
	// Authority is the value of Host: host[:port]. It is empty if the client speaks
	// HTTP/1.0 and sent none.
	Authority []byte
	// Fields are sent in their order and case, except those that are Dropped. They
	// include Content-Length. They do not include Host, Connection, Upgrade, TE and
	// Transfer-Encoding, which follow from the other members.
	Fields []Field

	Framing Framing
	// Size is the body's length in bytes when Framing is Length.
	Size int64
	// Upgrade is the protocol that the client asks for, empty for none.
	Upgrade []byte
	// Trailers says that the client accepts trailers.
	Trailers bool
}

// AppendRequest appends the complete head h as HTTP/1.1 (RFC 9112 section 3).
func AppendRequest(dst []byte, h *OutgoingRequest) []byte {
	dst = append(dst, h.Method...)
	dst = append(dst, ' ')
	dst = append(dst, h.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, h.Authority...)
	dst = append(dst, "\r\n"...)
	dst = AppendFields(dst, h.Fields)
	if h.Framing == Chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	switch upgrading := len(h.Upgrade) > 0; {
	case upgrading && h.Trailers:
		dst = append(dst, "Connection: Upgrade, TE\r\n"...)
	case upgrading:
		dst = append(dst, "Connection: Upgrade\r\n"...)
	case h.Trailers:
		dst = append(dst, "Connection: TE\r\n"...)
	}
	if len(h.Upgrade) > 0 {
		dst = append(dst, "Upgrade: "...)
		dst = append(dst, h.Upgrade...)
		dst = append(dst, "\r\n"...)
	}
	if h.Trailers {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	return append(dst, "\r\n"...)
}
