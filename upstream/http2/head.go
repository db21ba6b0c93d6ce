package http2

import (
	"serai/wire"
	"serai/wire/http2"
)

// block is a header block that is being read: a head, interim or final, or trailers. It
// is decoded to its end, even if it is faulty, because later blocks depend on it.
type block struct {
	id     uint32
	end    bool // the stream ends with it
	size   int  // size of the fields as HTTP/1 would write them
	status int
	begun  bool // a regular field has come
	fields []wire.Field
	values wire.Values
	err    error // why it is refused
}

// received is a head that a stream has got and that was not returned yet.
type received struct {
	status   int
	from, to int // its fields are these of the stream's fields
}

// beginBlock begins the block of a HEADERS frame.
func (r *reader) beginBlock(f *http2.Frame) error {
	id := f.Stream
	if id%2 == 0 || id >= r.conn.next {
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "a head is of a stream that was not begun"}
	}
	b := &r.block
	b.values.Reset()
	*b = block{id: id, end: f.Has(http2.FlagEndStream), fields: b.fields[:0], values: b.values}
	return nil
}

// fields is a reader as the Collector of a block.
type fields reader

// Add adds a decoded field.
func (f *fields) Add(e *http2.Entry) {
	if b := &f.block; b.err == nil {
		b.err = b.add(e, f.conn.limits)
	}
}

// add adds a field, or returns what is wrong with it (RFC 9113 section 8.2).
func (b *block) add(e *http2.Entry, l wire.Limits) error {
	if b.size += len(e.Name) + len(e.Value) + len(": \r\n"); b.size > l.Head {
		return wire.ErrHeadLarge
	}
	if e.Pseudo != http2.NoPseudo {
		ok := false
		if e.Pseudo == http2.Status && b.status == 0 && !b.begun {
			b.status, ok = parseStatus(e.Value)
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
	err := e.Flaw
	if err == nil && ofConnection(e.Kind) {
		err = errConnField
	}
	if err != nil {
		const shown = 64
		f := &wire.FieldError{Err: err, Line: line}
		if err != wire.ErrFieldName {
			f.Name = string(e.Name[:min(len(e.Name), shown)])
		}
		return f
	}
	b.fields = append(b.fields, wire.Field{Name: b.keep(e.Name), Value: b.keep(e.Value), Kind: e.Kind})
	return nil
}

func (b *block) keep(p []byte) []byte { return b.values.Keep(append(b.values.Start(), p...)) }

// ofConnection reports whether HTTP/2 does not allow a kind of field (RFC 9113 section
// 8.2.2).
func ofConnection(k wire.Kind) bool {
	switch k {
	case wire.Connection, wire.ProxyConnection, wire.KeepAlive, wire.TransferEncoding, wire.Upgrade:
		return true
	}
	return false
}

// parseStatus parses a :status: three digits (RFC 9113 section 8.3.2).
func parseStatus(value []byte) (status int, ok bool) {
	if len(value) != 3 {
		return 0, false
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, false
		}
		status = status*10 + int(b-'0')
	}
	return status, status >= 100
}

// endBlock passes the block to its stream, if that is still open.
func (r *reader) endBlock() error {
	if err := r.decoder.Take(nil, true, (*fields)(r)); err != nil {
		return err
	}
	b, c := &r.block, r.conn
	s := c.stream(b.id)
	if s == nil {
		return c.noisy()
	}
	if err := s.takeBlock(b); err != nil {
		c.refuse(s, err, http2.ProtocolError)
	} else if b.end {
		c.ended(b.id)
	}
	return nil
}

// takeBlock handles a head or the trailers. c.mu is held.
func (s *stream) takeBlock(b *block) error {
	switch {
	case s.gotEnd: // the stream has ended already
		return errOrder
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
	s.wake()
	return nil
}

// copyFields gives the fields of b to the stream: those of the first head, which is
// nearly always the only one, without copying.
func (s *stream) copyFields(b *block) {
	if len(s.fields) == 0 {
		s.fields, b.fields = b.fields, s.fields
		s.values, b.values = b.values, s.values
		return
	}
	for _, f := range b.fields {
		s.fields = append(s.fields, wire.Field{Name: s.keep(f.Name), Value: s.keep(f.Value), Kind: f.Kind})
	}
}

func (s *stream) keep(v []byte) []byte { return s.values.Keep(append(s.values.Start(), v...)) }

// expect learns from a final head which body follows it.
func (s *stream) expect(b *block) error {
	var lengthErr error
	s.length = -1
	for i := range b.fields {
		f := &b.fields[i]
		if f.Kind != wire.ContentLength {
			continue
		}
		n, ok := wire.ParseLength(f.Value)
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
	// The fields describe another answer: a valid length is passed on, but not with a
	// 204, which must not have one.
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
