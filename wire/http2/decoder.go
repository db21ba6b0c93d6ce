package http2

import (
	"golang.org/x/net/http2/hpack"
)

// TableSize is the size of the dynamic table that peers may use if nobody says
// otherwise, in bytes (RFC 9113 section 6.5.2).
const TableSize = 4096

// Decoder decodes the header blocks of one connection, in order (RFC 7541). It is
// ready with NewDecoder.
type Decoder struct {
	table
	allowed int  // the largest size that the peer may choose
	longest int  // string, in bytes
	begun   bool // a field of the block has been decoded
	updates int  // of the table's size in this block
	plain   []byte
}

// NewDecoder makes a Decoder whose table may have so many bytes, and that refuses
// strings that are longer than longest.
func NewDecoder(table, longest int) Decoder {
	d := Decoder{allowed: table, longest: longest}
	d.most = table
	return d
}

func compressionError(detail string) error { return &ConnError{CompressionError, detail} }

// End ends a block.
func (d *Decoder) End() { d.begun, d.updates = false, 0 }

// Next decodes what the rest b of a block begins with, and returns how many bytes
// that are: 0 when it is not here whole. Found is false when it is no field, but for
// the table. The entry's bytes are valid until the next call, and those of b as long
// as b is.
func (d *Decoder) Next(b []byte, e *Entry) (n int, found bool, err error) {
	if len(b) == 0 {
		return 0, false, nil
	}
	switch first := b[0]; {
	case first&0x80 != 0:
		i, n, err := integer(b, 7)
		if n == 0 || err != nil {
			return 0, false, err
		}
		known := d.lookup(i)
		if known == nil {
			return 0, false, compressionError("an index is beyond the tables")
		}
		*e, d.begun = *known, true
		return n, true, nil
	case first&0xc0 == 0x40:
		n, err := d.literal(b, 6, e)
		if n > 0 && err == nil {
			d.add(e)
		}
		return n, n > 0, err
	case first&0xe0 == 0x20:
		n, err := d.resized(b)
		return n, false, err
	default: // without indexing, or never indexed
		n, err := d.literal(b, 4, e)
		return n, n > 0, err
	}
}

// resized changes the size of the table (RFC 7541 section 6.3).
func (d *Decoder) resized(b []byte) (n int, err error) {
	size, n, err := integer(b, 5)
	if n == 0 || err != nil {
		return 0, err
	}
	// The lowest size and the last one are all that an encoder has to tell (section
	// 4.2).
	if d.updates++; d.begun || d.updates > 2 {
		return 0, compressionError("the table's size changes within a block, or too often")
	}
	if size > uint64(d.allowed) {
		return 0, compressionError("the table is larger than allowed")
	}
	d.resize(int(size))
	return n, nil
}

func (d *Decoder) lookup(i uint64) *Entry {
	switch {
	case i == 0:
		return nil
	case i < uint64(len(static)):
		return &static[i]
	}
	return d.at(i - uint64(len(static)) + 1)
}

// literal decodes a field whose value, and perhaps name, is written out.
func (d *Decoder) literal(b []byte, prefix int, e *Entry) (n int, err error) {
	i, n, err := integer(b, prefix)
	if n == 0 || err != nil {
		return 0, err
	}
	d.plain = d.plain[:0]
	if i > 0 {
		known := d.lookup(i)
		if known == nil {
			return 0, compressionError("an index is beyond the tables")
		}
		*e = *known
		if i >= uint64(len(static)) { // the table moves its bytes when it takes the new field
			d.plain = append(d.plain, known.Name...)
			e.Name = d.plain
		}
		if e.Flaw != nil && e.Pseudo == NoPseudo {
			e.classifyName() // the flaw may be the old value's
		} else {
			e.Flaw = nil
		}
	} else {
		name, m, err := d.text(b[n:])
		if m == 0 || err != nil {
			return 0, err
		}
		n += m
		e.Name = name
		e.classifyName()
	}
	value, m, err := d.text(b[n:])
	if m == 0 || err != nil {
		return 0, err
	}
	e.Value = value
	e.classifyValue()
	d.begun = true
	return n + m, nil
}

// text decodes a string (RFC 7541 section 5.2). Where it is coded, its bytes are in
// d.plain, behind those of the name.
func (d *Decoder) text(b []byte) (s []byte, n int, err error) {
	if len(b) == 0 {
		return nil, 0, nil
	}
	length, n, err := integer(b, 7)
	if n == 0 || err != nil {
		return nil, 0, err
	}
	if length > uint64(d.longest) {
		return nil, 0, ErrHeadLong
	}
	if uint64(len(b)-n) < length {
		return nil, 0, nil
	}
	raw := b[n : n+int(length)]
	n += int(length)
	if b[0]&0x80 == 0 {
		return raw, n, nil
	}
	start := len(d.plain)
	// Nothing is shorter than five bits: if it grew, the name would move.
	if most := start + len(raw)*8/5 + 1; most > cap(d.plain) {
		d.plain = append(make([]byte, 0, 2*most), d.plain...)
	}
	if _, err := hpack.HuffmanDecode((*plainText)(d), raw); err != nil {
		return nil, 0, compressionError("a string is not coded as it should be")
	}
	if s = d.plain[start:]; len(s) > d.longest {
		return nil, 0, ErrHeadLong
	}
	return s, n, nil
}

// Free gives the memory of strings back that a usual head does not need.
func (d *Decoder) Free() {
	if cap(d.plain) > 1024 {
		d.plain = nil
	}
}

// plainText is a Decoder to which decoded bytes are written.
type plainText Decoder

func (p *plainText) Write(b []byte) (int, error) {
	p.plain = append(p.plain, b...)
	return len(b), nil
}

// integer decodes an integer with a prefix of so many bits (RFC 7541 section 5.1). N
// is 0 when it is not here whole.
func integer(b []byte, prefix int) (v uint64, n int, err error) {
	mask := uint64(1)<<prefix - 1
	v = uint64(b[0]) & mask
	if v < mask {
		return v, 1, nil
	}
	for i := 1; i < len(b); i++ {
		if i > 5 { // no size or index that makes sense is longer
			return 0, 0, compressionError("an integer is too large")
		}
		v += uint64(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return v, i + 1, nil
		}
	}
	if len(b) > 5 {
		return 0, 0, compressionError("an integer is too large")
	}
	return 0, 0, nil
}
