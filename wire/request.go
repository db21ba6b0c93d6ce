package wire

import "bytes"

// Limits bound a head. The zero Limits allow nothing: start with DefaultLimits.
type Limits struct {
	Head   int // bytes of a whole head
	Fields int // field lines of a head or of a trailer section
	Target int // bytes of a request target
}

// DefaultLimits are serai's default limits.
func DefaultLimits() Limits { return Limits{Head: 64 << 10, Fields: 128, Target: 16 << 10} }

// RequestHead is a parsed request head. Its slices point into the buffer it was parsed
// from. It can be reused.
type RequestHead struct {
	Method []byte
	// Target is the target that is sent on: the origin-form or "*". Path and Query are
	// its parts. HasQuery distinguishes "/a?" from "/a".
	Target, Path, Query []byte
	HasQuery            bool
	// Host is the authority of an absolute-form target, or else the Host field:
	// host[:port] as it came. It is empty only in HTTP/1.0.
	Host []byte
	// Major is 2 for HTTP/2, and 0 for HTTP/1. Minor is the HTTP/1 minor version, 0 or
	// 1. For HTTP/2 it is 1, because that has all features of HTTP/1.1.
	Major, Minor uint8
	// Unversioned says that the request line was refused, or is incomplete, so that the
	// version is not known. Target is then what could be read of it, up to the byte that
	// is refused.
	Unversioned bool
	Fields      []Field

	Framing Framing
	// Size is the body's length in bytes when Framing is Length.
	Size int64
	// KeepAlive says that the client would reuse the connection.
	KeepAlive bool
	// Continue says that the client waits for a 100 before it sends the body.
	Continue bool
	// Upgrade are the requested protocols, a list, if Connection names Upgrade. Those of
	// an HTTP/1 client are without h2c.
	Upgrade []byte
}

// ParseRequest parses the request head at the start of buf, and returns its length in
// bytes. It returns ErrIncomplete when the head is not complete, and an *Error when it
// is refused (RFC 9112 sections 2 to 6).
func (h *RequestHead) ParseRequest(buf []byte, l Limits) (int, error) {
	*h = RequestHead{Fields: h.Fields[:0]}
	start := 0
	// RFC 9112 section 2.2: one empty line before the request line is ignored.
	if len(buf) > 0 && buf[0] == '\r' {
		if len(buf) == 1 {
			return 0, ErrIncomplete
		}
		if buf[1] == '\n' {
			start = 2
		}
	}
	n, err := h.parseLine(buf[start:], l)
	if err != nil {
		h.Unversioned = true
		return 0, tooLarge(buf, l, err)
	}
	pos := start + n
	h.Fields, n, err = parseFields(buf[pos:], h.Fields, l.Fields, strict)
	if err != nil {
		return 0, tooLarge(buf, l, err)
	}
	pos += n
	if pos > l.Head {
		return 0, ErrHeadLarge
	}
	return pos, h.interpret(l)
}

// tooLarge turns ErrIncomplete into ErrHeadLarge if the head has reached its limit.
func tooLarge(buf []byte, l Limits, err error) error {
	if err == ErrIncomplete && len(buf) >= l.Head {
		return ErrHeadLarge
	}
	return err
}

// parseLine parses the request line, and returns its length with its CRLF.
func (h *RequestHead) parseLine(buf []byte, l Limits) (int, error) {
	i := 0
	for i < len(buf) && class[buf[i]]&classToken != 0 {
		i++
	}
	if i == len(buf) {
		return 0, ErrIncomplete
	}
	if i == 0 || buf[i] != ' ' {
		return 0, ErrMethod
	}
	h.Method = buf[:i]
	start := i + 1
	i = start
	for i < len(buf) && class[buf[i]]&classTarget != 0 {
		i++
	}
	h.Target = buf[start:i]
	if i-start > l.Target {
		return 0, ErrTargetLong
	}
	if i == len(buf) {
		return 0, ErrIncomplete
	}
	switch {
	case buf[i] == '\r' || buf[i] == '\n':
		return 0, ErrRequestLine // HTTP/0.9, or no version
	case buf[i] != ' ':
		return 0, ErrTarget
	case i == start:
		return 0, ErrRequestLine
	}
	rest := buf[i+1:]
	const version = "HTTP/1.1\r\n"
	if len(rest) < len(version) {
		if bytes.IndexByte(rest, '\n') >= 0 {
			return 0, ErrRequestLine
		}
		return 0, ErrIncomplete
	}
	if string(rest[:5]) != "HTTP/" || rest[5]-'0' > 9 || rest[6] != '.' || rest[7]-'0' > 9 {
		return 0, ErrRequestLine
	}
	if rest[5] != '1' || rest[7] > '1' {
		return 0, ErrVersion
	}
	if rest[8] != '\r' || rest[9] != '\n' {
		if rest[8] == '\n' || rest[8] == '\r' {
			return 0, ErrLineEnd
		}
		return 0, ErrRequestLine
	}
	h.Minor = rest[7] - '0'
	return i + 1 + len(version), nil
}

// interpret interprets the target, Host, framing and Connection.
func (h *RequestHead) interpret(l Limits) error {
	if string(h.Method) == "CONNECT" {
		return ErrConnect
	}
	authority, err := h.splitTarget()
	if err != nil {
		return err
	}
	var (
		f         framing
		hosts     int
		named     options
		upgrading bool
		closing   bool
	)
	h.KeepAlive = h.Minor == 1
	for i := range h.Fields {
		field := &h.Fields[i]
		switch field.Kind {
		case Other:
		case Host:
			hosts++
			h.Host = field.Value
		case ContentLength, TransferEncoding:
			if err := f.add(field); err != nil {
				return err
			}
		case Connection:
			if err := named.add(field.Value, l.Fields); err != nil {
				return err
			}
			// RFC 9112 section 9.3: close comes before keep-alive, also in another field.
			closing = closing || HasToken(field.Value, "close")
			h.KeepAlive = !closing && (h.KeepAlive || HasToken(field.Value, "keep-alive"))
			upgrading = upgrading || HasToken(field.Value, "upgrade")
		case Expect:
			if len(field.Value) == 0 {
				continue // it expects nothing (RFC 9110 section 5.6.1.2)
			}
			if !EqualFold(field.Value, "100-continue") {
				return ErrExpect
			}
			h.Continue = h.Minor == 1
		}
	}
	if h.Framing, h.Size, err = f.result(h.Minor); err != nil {
		return err
	}
	if hosts > 1 || hosts == 0 && h.Minor == 1 {
		return ErrHostMissing
	}
	if hosts == 1 && !validHost(h.Host) {
		return ErrHost
	}
	// RFC 9112 section 3.2.2: the authority of an absolute-form replaces Host.
	if authority != nil {
		if !validHost(authority) {
			return ErrHost
		}
		h.Host = authority
	}
	if upgrading && h.Minor == 1 {
		h.Upgrade = offered(h.Fields)
	}
	return nil
}

// splitTarget sets the path and the query, and returns the authority of an
// absolute-form.
func (h *RequestHead) splitTarget() (authority []byte, err error) {
	t := h.Target
	if t[0] != '/' {
		if len(t) == 1 && t[0] == '*' && string(h.Method) == "OPTIONS" {
			h.Path = t
			return nil, nil
		}
		rest := cutScheme(t)
		if rest == nil {
			return nil, ErrTarget
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		authority = rest[:end]
		switch t = rest[end:]; {
		case len(t) == 0 && string(h.Method) == "OPTIONS":
			// RFC 9112 section 3.2.4: the request is about the server as a whole.
			h.Target, h.Path = star, star
			return authority, nil
		case len(t) == 0:
			t = slash
		case t[0] == '?':
			// RFC 9112 section 3.2.1: an empty path is sent on as a slash.
			t = append([]byte{'/'}, t...)
		}
		h.Target = t
	}
	h.Path = t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		h.Path, h.Query, h.HasQuery = t[:i], t[i+1:], true
	}
	return authority, nil
}

var slash, star = []byte("/"), []byte("*")

// cutScheme returns what follows http:// or https://, nil without it.
func cutScheme(t []byte) []byte {
	if i := bytes.IndexByte(t, ':'); i > 0 && len(t) > i+3 && t[i+1] == '/' && t[i+2] == '/' &&
		(EqualFold(t[:i], "http") || EqualFold(t[:i], "https")) {
		return t[i+3:]
	}
	return nil
}
