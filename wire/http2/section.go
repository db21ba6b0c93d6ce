package http2

import (
	"bytes"

	"serai/wire"
)

// Why a head is refused, besides the errors of HTTP/1 (RFC 9113 section 8).
var (
	ErrPseudo     = &wire.Error{Status: 400, Code: "bad-pseudo-field", Detail: "a pseudo-header field is unknown, repeated, missing, empty or behind other fields"}
	ErrConnection = &wire.Error{Status: 400, Code: "connection-field", Detail: "a connection-specific header field is not allowed in HTTP/2"}
	ErrTE         = &wire.Error{Status: 400, Code: "bad-te", Detail: "TE says something other than trailers"}
	ErrScheme     = &wire.Error{Status: 400, Code: "bad-scheme", Detail: "the scheme is neither http nor https"}
	ErrAuthority  = &wire.Error{Status: 400, Code: "two-hosts", Detail: ":authority and Host differ"}
	ErrProtocol   = &wire.Error{Status: 400, Code: "bad-protocol", Detail: ":protocol is for CONNECT alone, and a token"}
)

// Section collects the fields of one head, or of trailers. The zero Section has no
// limits: set them first. Reset prepares it for reuse.
type Section struct {
	Limits wire.Limits
	// Room is called before more than InlineSize bytes are kept, and allows it; nil
	// allows it always.
	Room func() bool

	data    []byte // names and values
	fields  []span
	cookie  []byte              // the values of all cookies, joined: a crumb is no field of its own
	pseudo  [UnknownPseudo]span // of those that were seen
	seen    uint16              // a bit for each Pseudo
	regular bool                // a regular field has come
	cookies int                 // crumbs
	size    int                 // as RFC 9113 section 6.5.2 counts it
	large   bool
	flaw    *wire.Error // the first flaw
	tooMuch *wire.Error
}

// InlineSize is how many bytes of a head are kept without a call of Room.
const InlineSize = 8 << 10

// span is a field within data.
type span struct {
	start, middle, end int
	kind               wire.Kind
}

// Reset prepares the section for the next head.
func (s *Section) Reset() {
	if s.Size() > InlineSize {
		s.data, s.cookie = nil, nil
	}
	s.data, s.fields, s.cookie = s.data[:0], s.fields[:0], s.cookie[:0]
	s.seen, s.regular, s.cookies, s.size, s.large, s.flaw, s.tooMuch = 0, false, 0, 0, false, nil, nil
}

// Size returns how many bytes of memory the fields use.
func (s *Section) Size() int { return cap(s.data) + cap(s.cookie) }

// Large reports whether Room has allowed more memory.
func (s *Section) Large() bool { return s.large }

// Add copies a field. An error is reported at the end, since the block must be decoded
// to its end in any case.
func (s *Section) Add(e *Entry) {
	s.size += e.size()
	switch {
	case s.flaw != nil || s.tooMuch != nil:
		return
	case e.Flaw != nil:
		s.flaw = e.Flaw
		return
	case s.size > s.Limits.Head:
		s.tooMuch = wire.ErrHeadLarge
		return
	}
	if s.flaw = s.check(e); s.flaw != nil {
		return
	}
	crumb := e.Pseudo == NoPseudo && e.Kind == wire.Cookie
	if crumb {
		s.cookies++
	}
	further := crumb && s.cookies > 1
	if e.Pseudo == NoPseudo && !further && len(s.fields) >= s.Limits.Fields {
		s.tooMuch = wire.ErrFieldCount
		return
	}
	if len(s.data)+len(s.cookie)+len(e.Name)+len(e.Value) > InlineSize && !s.large {
		if s.Room != nil && !s.Room() {
			s.tooMuch = wire.ErrOverloaded
			return
		}
		s.large = true
	}
	if crumb {
		if len(s.cookie) > 0 {
			s.cookie = append(s.cookie, "; "...)
		}
		s.cookie = append(s.cookie, e.Value...)
		if further {
			return
		}
	}
	f := span{start: len(s.data), kind: e.Kind}
	if e.Pseudo == NoPseudo {
		s.data = append(s.data, e.Name...)
	}
	f.middle = len(s.data)
	if !crumb {
		s.data = append(s.data, e.Value...)
	}
	f.end = len(s.data)
	if e.Pseudo == NoPseudo {
		s.fields = append(s.fields, f)
	} else {
		s.pseudo[e.Pseudo] = f
	}
}

// check returns what is wrong with a field at this position.
func (s *Section) check(e *Entry) *wire.Error {
	if e.Pseudo != NoPseudo {
		bit := uint16(1) << e.Pseudo
		if s.regular || s.seen&bit != 0 || e.Pseudo == UnknownPseudo {
			return ErrPseudo
		}
		s.seen |= bit
		return nil
	}
	s.regular = true
	switch e.Kind {
	case wire.Connection, wire.KeepAlive, wire.ProxyConnection, wire.TransferEncoding, wire.Upgrade, wire.HTTP2Settings:
		return ErrConnection
	case wire.TE:
		if !wire.EqualFold(e.Value, "trailers") {
			return ErrTE
		}
	}
	return nil
}

func (s *Section) has(p Pseudo) bool { return s.seen&(1<<p) != 0 }

func (s *Section) valueOf(p Pseudo) []byte {
	f := &s.pseudo[p]
	if !s.has(p) {
		return nil
	}
	return s.data[f.middle:f.end:f.end]
}

// Request makes h from the section. Body says that the request does not end with its
// head. An extended CONNECT (RFC 8441) becomes a GET with an Upgrade. h is valid until
// Reset. If it is refused, it has what could be read.
func (s *Section) Request(h *wire.RequestHead, body bool) error {
	*h = wire.RequestHead{Major: 2, Minor: 1, Fields: h.Fields[:0]}
	h.Method, h.Target, h.Host = s.valueOf(Method), s.valueOf(Path), s.valueOf(Authority)
	s.appendFields(h)
	if s.flaw != nil {
		return s.flaw
	}
	if s.tooMuch != nil {
		return s.tooMuch
	}
	connects := string(h.Method) == "CONNECT"
	switch {
	case s.has(Status):
		return ErrPseudo
	case s.has(Protocol) && (!connects || !wire.IsToken(string(s.valueOf(Protocol)))):
		return ErrProtocol
	case connects && !s.has(Protocol):
		return wire.ErrConnect
	case !s.has(Method) || !s.has(Scheme) || !s.has(Path) || len(h.Method) == 0 || len(h.Target) == 0:
		return ErrPseudo
	case !isScheme(s.valueOf(Scheme)):
		return ErrScheme
	}
	if err := s.host(h); err != nil {
		return err
	}
	if connects {
		// The DATA that follows belongs to the tunnel.
		h.Upgrade, h.Method = s.valueOf(Protocol), get
		err := h.Assemble(s.Limits, false)
		dropLength(h)
		return err
	}
	if err := h.Assemble(s.Limits, body); err != nil {
		return err
	}
	// Some servers refuse these methods without a Content-Length (RFC 9110 section 8.6).
	if h.Framing == wire.NoBody && hasContent(h.Method) {
		h.Framing = wire.Length
		h.Fields = append(h.Fields, wire.Field{Name: nameLength, Value: zero, Kind: wire.ContentLength})
	}
	return nil
}

func isScheme(v []byte) bool {
	switch string(v) {
	case "https", "http":
		return true
	}
	return wire.EqualFold(v, "https") || wire.EqualFold(v, "http")
}

// dropLength drops a length of 0, of a head that a tunnel follows: it is no body's (RFC
// 9110 section 9.3.6).
func dropLength(h *wire.RequestHead) {
	if h.Framing != wire.Length {
		return
	}
	h.Framing = wire.NoBody
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Kind == wire.ContentLength {
			f.Kind = wire.Dropped
		}
	}
}

var get, nameLength, zero = []byte("GET"), []byte("content-length"), []byte("0")

func hasContent(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// host compares :authority with Host (RFC 9113 section 8.3.1).
func (s *Section) host(h *wire.RequestHead) error {
	hosts := 0
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Kind != wire.Host {
			continue
		}
		if hosts++; hosts > 1 {
			return wire.ErrHostMissing
		}
		switch {
		case !s.has(Authority):
			h.Host = f.Value
		case !bytes.EqualFold(f.Value, h.Host):
			return ErrAuthority
		}
	}
	return nil
}

// appendFields makes the fields, with all cookies joined at the place of the first one
// (RFC 9113 section 8.2.3).
func (s *Section) appendFields(h *wire.RequestHead) {
	for i := range s.fields {
		h.Fields = append(h.Fields, s.field(i))
	}
}

func (s *Section) field(i int) wire.Field {
	f := &s.fields[i]
	value := s.data[f.middle:f.end:f.end]
	if f.kind == wire.Cookie {
		value = s.cookie[:len(s.cookie):len(s.cookie)]
	}
	return wire.Field{Name: s.data[f.start:f.middle:f.middle], Value: value, Kind: f.kind}
}

// Trailers appends the fields of a trailer section to dst. They are valid until Reset.
func (s *Section) Trailers(dst []wire.Field) ([]wire.Field, error) {
	switch {
	case s.tooMuch == wire.ErrOverloaded:
		return dst, s.tooMuch
	case s.flaw != nil, s.tooMuch != nil, s.seen != 0:
		return dst, wire.ErrTrailer
	}
	for i := range s.fields {
		dst = append(dst, s.field(i))
	}
	return dst, nil
}
