package wire

// OutgoingRequest is the head of a request to an instance, as data. Whoever makes
// it knows no version of HTTP: AppendRequest writes it as HTTP/1.1.
type OutgoingRequest struct {
	Method []byte
	// Target is the path with its query, or "*".
	Target []byte
	// Authority is what the Host field says: host[:port], empty where the client,
	// of HTTP/1.0, named none.
	Authority []byte
	// Fields are sent in order and case as they stand, but for those that are
	// Dropped. Content-Length is one of them. Host is not, nor are Connection,
	// Upgrade, TE and Transfer-Encoding: they are said by what follows here.
	Fields []Field

	Framing Framing
	// Size is the body's length in bytes when Framing is Length.
	Size int64
	// Upgrade is the protocol that the client asks for, empty for none.
	Upgrade []byte
	// Trailers says that the client takes trailers.
	Trailers bool
}

// AppendRequest appends h as HTTP/1.1 writes it, whole with its empty line (RFC
// 9112 section 3).
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
