package wire

import "bytes"

// ResponseHead is a parsed answer head. Its slices point into the buffer it
// was parsed from; it can be used again.
type ResponseHead struct {
	Status int
	Reason []byte
	// Minor is the HTTP/1 minor version, 0 or 1.
	Minor  uint8
	Fields []Field

	Framing Framing
	// Size is the body's length in bytes when Framing is Length.
	Size int64
	// Declared says that a Content-Length was sent even though no body
	// follows (HEAD, 304); Size holds it.
	Declared bool
	// KeepAlive says that the connection can be reused after the message.
	KeepAlive bool
}

// ParseResponse parses the answer head at the start of buf, which answers a
// request of that method, and returns its length in bytes. It returns
// ErrIncomplete when the head has not come whole, and an *Error when it is
// refused (RFC 9112 sections 4 to 6).
func (h *ResponseHead) ParseResponse(buf, method []byte, l Limits) (int, error) {
	*h = ResponseHead{Fields: h.Fields[:0]}
	n, err := h.parseLine(buf)
	if err != nil {
		return 0, tooLarge(buf, l, err)
	}
	var used int
	h.Fields, used, err = parseFields(buf[n:], h.Fields, l.Fields)
	if err != nil {
		return 0, tooLarge(buf, l, err)
	}
	if n += used; n > l.Head {
		return 0, ErrHeadLarge
	}
	return n, h.interpret(method)
}

// parseLine parses the status line and returns its length with its CRLF.
func (h *ResponseHead) parseLine(buf []byte) (int, error) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		return 0, ErrIncomplete
	}
	if end == 0 || buf[end-1] != '\r' {
		return 0, ErrLineEnd
	}
	line := buf[:end-1]
	const least = "HTTP/1.1 200"
	if len(line) < len(least) || string(line[:7]) != "HTTP/1." || line[7]-'0' > 1 || line[8] != ' ' {
		return 0, ErrStatusLine
	}
	h.Minor = line[7] - '0'
	for _, b := range line[9:12] {
		if b < '0' || b > '9' {
			return 0, ErrStatusLine
		}
		h.Status = h.Status*10 + int(b-'0')
	}
	// The blank before an empty reason is often left out.
	if len(line) > 12 {
		if line[12] != ' ' || !cleanValue(line[13:]) {
			return 0, ErrStatusLine
		}
		h.Reason = line[13:]
	}
	if h.Status < 100 || h.Status > 599 {
		return 0, ErrStatusLine
	}
	return end + 1, nil
}

// interpret reads framing and connection options (RFC 9112 section 6.3).
func (h *ResponseHead) interpret(method []byte) (err error) {
	var f framing
	h.KeepAlive = h.Minor == 1
	for i := range h.Fields {
		field := &h.Fields[i]
		switch field.Kind {
		case ContentLength, TransferEncoding:
			if err := f.add(field); err != nil {
				return err
			}
		case Connection:
			switch {
			case HasToken(field.Value, "close"):
				h.KeepAlive = false
			case h.Minor == 0 && HasToken(field.Value, "keep-alive"):
				h.KeepAlive = true
			}
		}
	}
	if h.Framing, h.Size, err = f.result(h.Minor); err != nil {
		return err
	}
	switch {
	case h.Status < 200 || h.Status == 204:
		// RFC 9112 section 6.1: no Transfer-Encoding here. A body sent all
		// the same is left over, and costs the connection.
		if h.Framing == Chunked {
			return ErrTransferCoding
		}
		h.Framing, h.Size = NoBody, 0
	case string(method) == "HEAD" || h.Status == 304:
		h.Declared = h.Framing == Length
		h.Framing = NoBody
	case h.Framing == NoBody:
		h.Framing = UntilEOF
		h.KeepAlive = false
	}
	return nil
}
