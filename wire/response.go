package wire

import "bytes"

// ResponseHead is a parsed answer head. Its slices point into the buffer it was parsed
// from. It can be reused.
type ResponseHead struct {
	Status int
	Reason []byte
	// Minor is the HTTP/1 minor version, 0 or 1.
	Minor  uint8
	Fields []Field

	Framing Framing
	// Size is the body's length in bytes when Framing is Length.
	Size int64
	// Declared says that a Content-Length was sent although no body follows (HEAD, 304).
	// Size is its value.
	Declared bool
	// KeepAlive says that the connection can be reused after the message.
	KeepAlive bool
}

// ParseResponse parses the answer head at the start of buf, for a request with that
// method, and returns its length in bytes. It returns ErrIncomplete when the head is
// not complete, and an *Error when it is refused (RFC 9112 sections 4 to 6).
func (h *ResponseHead) ParseResponse(buf, method []byte, l Limits) (int, error) {
	*h = ResponseHead{Fields: h.Fields[:0]}
	n, err := h.parseLine(buf)
	if err != nil {
		return 0, tooLarge(buf, l, err)
	}
	var used int
	h.Fields, used, err = parseFields(buf[n:], h.Fields, l.Fields, lenient)
	if err != nil {
		return 0, tooLarge(buf, l, err)
	}
	if n += used; n > l.Head {
		return 0, ErrHeadLarge
	}
	return n, h.interpret(method, l)
}

// parseLine parses the status line and returns its length with its CRLF.
func (h *ResponseHead) parseLine(buf []byte) (int, error) {
	end := bytes.IndexByte(buf, '\n')
	const begins = "HTTP/1."
	if end < 0 {
		if n := min(len(buf), len(begins)); string(buf[:n]) != begins[:n] {
			return 0, ErrStatusLine // whatever comes: its line end may never come
		}
		return 0, ErrIncomplete
	}
	if end == 0 || buf[end-1] != '\r' {
		return 0, ErrLineEnd
	}
	line := buf[:end-1]
	const least = "HTTP/1.1 200"
	if len(line) < len(least) || string(line[:7]) != begins || line[7]-'0' > 1 || line[8] != ' ' {
		return 0, ErrStatusLine
	}
	h.Minor = line[7] - '0'
	for _, b := range line[9:12] {
		if b < '0' || b > '9' {
			return 0, ErrStatusLine
		}
		h.Status = h.Status*10 + int(b-'0')
	}
	// Many servers omit the blank before an empty reason.
	if len(line) > 12 {
		if line[12] != ' ' || !cleanValue(line[13:]) {
			return 0, ErrStatusLine
		}
		h.Reason = line[13:]
	}
	// Above 599 no class is defined, but some servers use such codes (RFC 9110 section
	// 15), and they do not change where the answer ends.
	if h.Status < 100 {
		return 0, ErrStatusLine
	}
	return end + 1, nil
}

// interpret interprets the framing and Connection (RFC 9112 section 6.3).
func (h *ResponseHead) interpret(method []byte, l Limits) (err error) {
	var f framing
	var named options
	closing := false
	h.KeepAlive = h.Minor == 1
	for i := range h.Fields {
		field := &h.Fields[i]
		switch field.Kind {
		case ContentLength, TransferEncoding:
			if e := f.add(field); e != nil && err == nil {
				err = e
			}
		case Connection:
			if err := named.add(field.Value, l.Fields); err != nil {
				return err
			}
			closing = closing || HasToken(field.Value, "close")
			h.KeepAlive = !closing && (h.KeepAlive || HasToken(field.Value, "keep-alive"))
		}
	}
	if err == nil {
		h.Framing, h.Size, err = f.result(h.Minor)
	}
	switch {
	case h.Status < 200 || h.Status == 204:
		// It never has a body (section 6.3), so the framing fields are dropped. An
		// instance that announces a body may still send one, so the connection is not
		// reused then.
		h.KeepAlive = h.KeepAlive && err == nil && (h.Framing == NoBody || h.Framing == Length && h.Size == 0)
		h.Framing, h.Size = NoBody, 0
		h.dropFraming()
	case string(method) == "HEAD" || h.Status == 304:
		// The fields describe another answer. A valid length is passed on.
		h.Declared = err == nil && h.Framing == Length
		h.Framing = NoBody
		if !h.Declared {
			h.Size = 0
			h.dropFraming()
		}
	case err != nil:
		return err
	case h.Framing == NoBody:
		h.Framing = UntilEOF
		h.KeepAlive = false
	}
	return nil
}

// dropFraming drops the fields that would frame a body.
func (h *ResponseHead) dropFraming() {
	for i := range h.Fields {
		if k := h.Fields[i].Kind; k == ContentLength || k == TransferEncoding {
			h.Fields[i].Kind = Dropped
		}
	}
}
