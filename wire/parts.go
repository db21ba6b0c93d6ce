package wire

import "bytes"

// A head of HTTP/2 comes in parts, not as text: a method, a target, an authority and
// fields. The rules for them are the same as in HTTP/1.

// ErrLengthMismatch means that the body does not have the size of Content-Length.
var ErrLengthMismatch = &Error{400, "length-mismatch", "the body has more or fewer bytes than Content-Length says"}

// LowerKind returns the kind of a field name, and reports whether it is a token in
// lower case, as HTTP/2 requires (RFC 9113 section 8.2.1).
func LowerKind(name []byte) (k Kind, ok bool) {
	if len(name) == 0 {
		return Other, false
	}
	odd := false
	for _, b := range name {
		if class[b]&classToken == 0 || b >= 'A' && b <= 'Z' {
			return Other, false
		}
		odd = odd || class[b]&classHost == 0 || b == '_' || b == '.' || b == '~'
	}
	if k = KindOf(name); odd && k == Other {
		k = resembledKind(name)
	}
	return k, true
}

// CleanValue reports whether a field value has no control character except HTAB, and no
// blank at either end (RFC 9110 section 5.5).
func CleanValue(v []byte) bool {
	n := len(v)
	return n == 0 || !isBlank(v[0]) && !isBlank(v[n-1]) && cleanValue(v)
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// Assemble interprets a head whose Method, Target, Host and Fields are set, with kinds
// from LowerKind. Body says that the message does not end with its head. It refuses
// what ParseRequest would refuse.
func (h *RequestHead) Assemble(l Limits, body bool) error {
	switch {
	case len(h.Method) == 0 || !all(h.Method, classToken):
		return ErrMethod
	case string(h.Method) == "CONNECT":
		return ErrConnect
	case len(h.Target) > l.Target:
		return ErrTargetLong
	case len(h.Target) == 0 || !all(h.Target, classTarget):
		return ErrTarget
	case h.Target[0] != '/' && (string(h.Target) != "*" || string(h.Method) != "OPTIONS"):
		return ErrTarget
	case len(h.Host) == 0:
		return ErrHostMissing
	case !validHost(h.Host):
		return ErrHost
	}
	h.Path = h.Target
	if i := bytes.IndexByte(h.Target, '?'); i >= 0 {
		h.Path, h.Query, h.HasQuery = h.Target[:i], h.Target[i+1:], true
	}
	var f framing
	for i := range h.Fields {
		switch field := &h.Fields[i]; field.Kind {
		case ContentLength:
			if err := f.add(field); err != nil {
				return err
			}
		case Expect:
			if len(field.Value) == 0 {
				continue
			}
			if !EqualFold(field.Value, "100-continue") {
				return ErrExpect
			}
			h.Continue = true
		}
	}
	h.Minor, h.KeepAlive = 1, true
	switch {
	case f.length && f.size > 0 && !body:
		return ErrLengthMismatch
	case f.length:
		h.Framing, h.Size = Length, f.size
	case body:
		h.Framing = Chunked
	default:
		h.Framing = NoBody
	}
	return nil
}
