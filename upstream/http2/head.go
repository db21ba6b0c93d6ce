package http2

import (
	"golang.org/x/net/http2/hpack"

	"serai/wire"
)

// block is a block of fields as it comes: a head, interim or final, or trailers. It
// is decoded to its end, whatever is wrong with it, since later ones build
// on it.
type block struct {
	open   bool
	id     uint32
	end    bool // the stream ends with it
	bytes  int  // as they came
	size   int  // of the fields, as HTTP/1 would write them
	status int
	begun  bool // a field that is no pseudo-field has come
	fields []wire.Field
	values wire.Values
	err    error // why it is refused
}

// received is a head that a stream has got, and nobody has looked at.
type received struct {
	status   int
	from, to int // its fields, among those of the stream
}

// beginBlock begins the block of a HEADERS frame.
func (r *reader) beginBlock() error {
	id := r.frame.stream
	if id%2 == 0 || id >= r.conn.next {
		return &connError{codeProtocol, "a head is of a stream that was not begun"}
	}
	b := &r.block
	b.values.Reset()
	*b = block{open: true, id: id, end: r.frame.has(flagEndStream), fields: b.fields[:0], values: b.values}
	r.decoder.SetEmitEnabled(true)
	return nil
}

// fragment takes a part of the block.
func (r *reader) fragment(p []byte) error {
	b := &r.block
	if b.bytes += len(p); b.bytes > r.conn.limits.Head+maxFrame {
		return &connError{codeCalm, "a block of fields has no end"}
	}
	if _, err := r.decoder.Write(p); err != nil {
		return &connError{codeCompression, err.Error()}
	}
	return nil
}

// field takes a decoded field.
func (r *reader) field(f hpack.HeaderField) {
	b := &r.block
	if b.err != nil {
		return
	}
	if b.err = b.add(f, r.conn.limits); b.err != nil {
		r.decoder.SetEmitEnabled(false)
	}
}

// add takes a field in, or says what is wrong with it (RFC 9113 section 8.2).
func (b *block) add(f hpack.HeaderField, l wire.Limits) error {
	if b.size += len(f.Name) + len(f.Value) + len(": \r\n"); b.size > l.Head {
		return wire.ErrHeadLarge
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		ok := false
		if f.Name == ":status" && b.status == 0 && !b.begun {
			b.status, ok = parseStatus(f.Value)
		}
		if !ok {
			return errPseudo
		}
		return nil
	}
	b.begun = true
	line := len(b.fields) + 1
	if line > l.Fields {
		return wire.ErrFieldCount
	}
	if err := checkName(f.Name); err != nil {
		return &wire.FieldError{Err: err, Line: line}
	}
	name := b.keep(f.Name)
	kind := kindOf(name)
	err := checkValue(f.Value)
	if ofConnection(kind) {
		err = errConnField
	}
	if err != nil {
		const shown = 64
		return &wire.FieldError{Err: err, Line: line, Name: f.Name[:min(len(f.Name), shown)]}
	}
	b.fields = append(b.fields, wire.Field{Name: name, Value: b.keep(f.Value), Kind: kind})
	return nil
}

func (b *block) keep(s string) []byte { return b.values.Keep(append(b.values.Start(), s...)) }

// endBlock gives the block to its stream, if that is still under way.
func (r *reader) endBlock() error {
	b, c := &r.block, r.conn
	b.open = false
	if err := r.decoder.Close(); err != nil {
		return &connError{codeCompression, err.Error()}
	}
	s := c.streams[b.id]
	if s == nil {
		return c.noisy()
	}
	if err := s.takeBlock(b); err != nil {
		c.refuse(s, err, codeProtocol)
	} else if b.end {
		c.ended(b.id)
	}
	return nil
}

// takeBlock takes a head or the trailers. c.mu is held.
func (s *stream) takeBlock(b *block) error {
	switch {
	case b.err != nil:
		return b.err
	case s.final: // trailers
		if !b.end || b.status != 0 {
			return errOrder
		}
		s.trailers.from = len(s.fields)
		s.copyFields(b)
		s.trailers.to = len(s.fields)
		return nil
	case b.status == 0:
		return errPseudo
	case b.status == 101: // RFC 9113 section 8.6
		return errPseudo
	case b.status < 200:
		if s.interims++; s.interims > s.conn.interims || s.headBytes+b.size > s.conn.limits.Head {
			return errInterim
		}
		if b.end {
			return errOrder
		}
	default:
		s.final = true
		if err := s.expect(b); err != nil {
			return err
		}
	}
	s.headBytes += b.size
	h := received{status: b.status, from: len(s.fields)}
	s.copyFields(b)
	h.to = len(s.fields)
	s.heads = append(s.heads, h)
	s.tell()
	return nil
}

// copyFields keeps the fields of b with the stream.
func (s *stream) copyFields(b *block) {
	for _, f := range b.fields {
		s.fields = append(s.fields, wire.Field{Name: s.keep(f.Name), Value: s.keep(f.Value), Kind: f.Kind})
	}
}

func (s *stream) keep(v []byte) []byte { return s.values.Keep(append(s.values.Start(), v...)) }

// expect learns from a final head what body follows it.
func (s *stream) expect(b *block) error {
	var lengthErr error
	s.length = -1
	for i := range b.fields {
		f := &b.fields[i]
		if f.Kind != wire.ContentLength {
			continue
		}
		n, ok := parseLength(f.Value)
		switch {
		case !ok:
			lengthErr = wire.ErrContentLength
		case s.length >= 0:
			lengthErr = wire.ErrLengthTwice
		}
		s.length = n
	}
	s.bodiless = s.head || b.status == 204 || b.status == 304
	if !s.bodiless {
		return lengthErr
	}
	// The fields are those of another answer: a length is passed on where it is one,
	// but not with a 204, which has none.
	if lengthErr != nil || b.status == 204 {
		s.length = -1
		for i := range b.fields {
			if b.fields[i].Kind == wire.ContentLength {
				b.fields[i].Kind = wire.Dropped
			}
		}
	}
	return nil
}
