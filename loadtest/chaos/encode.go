package chaos

import "fmt"

// appendBody appends a body in its framing, with odd chunks.
func appendBody(b []byte, id uint64, f Framing, size, chunk int, trailer, odd bool) []byte {
	if f != Chunked {
		return appendPattern(b, id, 0, size)
	}
	for at, i := 0, 0; at < size; i++ {
		n := min(max(1, chunk), size-at)
		switch i % 4 {
		case 1:
			b = fmt.Appendf(b, "%X\r\n", n)
		case 2:
			b = fmt.Appendf(b, "%x;name=value\r\n", n)
		case 3:
			if odd {
				b = fmt.Appendf(b, "%012x ;name\r\n", n)
				break
			}
			b = fmt.Appendf(b, "%04x;q=\"a b\"\r\n", n)
		default:
			b = fmt.Appendf(b, "%x\r\n", n)
		}
		b = append(appendPattern(b, id, int64(at), n), "\r\n"...)
		at += n
	}
	b = append(b, "0\r\n"...)
	if trailer {
		b = fmt.Appendf(b, "X-Trailer: %x\r\n", id)
	}
	return append(b, "\r\n"...)
}

func (r *Request) target() string {
	if r.Query != "" {
		return r.Path + "?" + r.Query
	}
	return r.Path
}

// bytes returns the request as it is sent with a cookie, empty for none, and the
// length of its head.
func (r *Request) bytes(cookie string) (all []byte, headed int) {
	b := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\nHost: %s\r\n%s: %x\r\n", r.Method, r.target(), r.Minor, r.Host, idField, r.ID)
	for _, f := range r.Fields {
		b = append(b, f+"\r\n"...)
	}
	if cookie != "" {
		b = append(b, "Cookie: "+cookie+"\r\n"...)
	}
	switch {
	case r.Upgrade:
		b = append(b, "Connection: Upgrade\r\nUpgrade: echo\r\n"...)
	case r.Close && r.Minor == 1:
		b = append(b, "Connection: close\r\n"...)
	case !r.Close && r.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	if r.Keyed {
		b = fmt.Appendf(b, "Idempotency-Key: \"%x\"\r\n", r.ID)
	}
	if r.Expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch {
	case r.Malformed != "":
		b = append(b, r.Malformed+"\r\n"...)
	case r.Upgrade:
		if r.Empty {
			b = append(b, "Content-Length: 0\r\n"...)
		}
	case r.Framing == Length:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", r.Size)
	case r.Framing == Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if r.Trailer {
			b = append(b, "Trailer: X-Trailer\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	headed = len(b)
	switch {
	case r.Upgrade:
		b = appendPattern(b, r.ID, 0, r.EarlyUp)
	case r.Framing != None:
		b = appendBody(b, r.ID, r.Framing, r.Size, r.Chunk, r.Trailer, false)
	}
	return b, headed
}

const (
	// idField names a request and its answer.
	idField = "X-Chaos"
	// instanceField names the instance that answered.
	instanceField = "X-Chaos-Instance"
)

// bodyless reports whether an answer ends with its head (RFC 9112 section
// 6.3).
func bodyless(method string, status int) bool {
	return method == "HEAD" || status == 204 || status == 304 || status < 200
}

// badFraming reports whether the flaw of a malformed head is a field that frames the
// body.
func (a *Answer) badFraming() bool { return a.At%4 < 2 }

// bytes returns the answer as it is sent, with its flaw if that is in the
// bytes.
func (a *Answer) bytes(r *Request, instance string) []byte {
	var b []byte
	for _, status := range a.Interim {
		b = fmt.Appendf(b, "HTTP/1.1 %d Early\r\nX-Early: %x\r\n\r\n", status, r.ID)
	}
	b = fmt.Appendf(b, "HTTP/1.1 %d Chaos\r\n%s: %x\r\n%s: %s\r\n", a.Status, idField, r.ID, instanceField, instance)
	if a.HSTS {
		b = append(b, ownHSTS+"\r\n"...)
	}
	if a.Odd {
		b = append(b, "X-Odd : blank\r\n"...)
	}
	if a.Close || a.Framing == Close {
		b = append(b, "Connection: close\r\n"...)
	}
	bad := a.Flaw == BadHead
	switch a.At % 4 {
	case 0:
		if bad {
			b = append(b, "Content-Length: 1x\r\n"...)
		}
	case 1:
		if bad {
			b = append(b, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"...)
		}
	case 2:
		if bad {
			b = append(b, "X-Bad: a\x00b\r\n"...)
		}
	case 3:
		if bad {
			b = append(b, "no colon here\r\n"...)
		}
	}
	none := bodyless(r.Method, a.Status)
	switch {
	case a.Status == 204 && !(a.Odd && a.Framing == Chunked) || bad:
	case a.Framing == Length:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", a.Size)
	case a.Framing == Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	b = append(b, "\r\n"...)
	if a.Flaw == BadChunk {
		return append(appendPattern(append(b, "5\r\n"...), answerOf(r.ID), 0, 5), "\r\nzz\r\nhello\r\n0\r\n\r\n"...)
	}
	if !none {
		b = appendBody(b, answerOf(r.ID), a.Framing, a.Size, a.Chunk, a.Trailer, a.Odd)
	}
	if a.Flaw == TooMuch {
		b = fmt.Appendf(b, "HTTP/1.1 200 OK\r\n%s: bad\r\nContent-Length: 3\r\n\r\nbad", idField)
	}
	return b
}
