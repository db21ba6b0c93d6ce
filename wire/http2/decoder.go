package http2

// TableSize is the default size of a peer's dynamic table, in bytes (RFC 9113 section
// 6.5.2).
const TableSize = 4096

// Decoder decodes the header blocks of one connection, in order (RFC 7541). Make it
// with NewDecoder.
type Decoder struct {
	table
	allowed int    // the largest table that the peer may choose
	longest int    // the longest string, in bytes
	begun   bool   // a field of the block was decoded
	updates int    // changes of the table's size in this block
	plain   []byte // decoded strings of the current field
}

// NewDecoder makes a Decoder with a table of at most table bytes. It refuses strings
// longer than longest.
func NewDecoder(table, longest int) Decoder {
	d := Decoder{allowed: table, longest: longest}
	d.most = table
	return d
}

func compressionError(detail string) error { return &ConnError{CompressionError, detail} }

// End ends a block.
func (d *Decoder) End() { d.begun, d.updates = false, 0 }

// Next decodes the next part of a block, of which b is the rest, and returns its
// length: 0 when it is incomplete. Found is false if it only changes the table. The
// entry is valid until the next call, or as long as b, where it points into b.
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

// short returns the field of a table that this one byte stands for, nil for any other
// part of a block. It is valid until the next part is decoded.
func (d *Decoder) short(b byte) *Entry {
	if b <= 0x80 || b == 0xff {
		return nil
	}
	known := d.lookup(uint64(b & 0x7f))
	d.begun = d.begun || known != nil
	return known
}

// resized changes the size of the table (RFC 7541 section 6.3).
func (d *Decoder) resized(b []byte) (n int, err error) {
	size, n, err := integer(b, 5)
	if n == 0 || err != nil {
		return 0, err
	}
	// An encoder needs at most two changes: the smallest size, and the last one (section
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

// literal decodes a field whose value, and perhaps name, is a string.
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
		if i >= uint64(len(static)) { // adding the new field moves the bytes of the table
			d.plain = append(d.plain, known.Name...)
			e.Name = d.plain
		}
		if e.Flaw != nil && e.Pseudo == NoPseudo {
			e.classifyName() // the flaw may be in the old value
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

// text decodes a string (RFC 7541 section 5.2). If it is Huffman-coded, its bytes are
// appended to d.plain.
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
	// A code has at least five bits. Make room now: growing later would move the name.
	if most := start + len(raw)*8/5 + 1; most > cap(d.plain) {
		d.plain = append(make([]byte, 0, 2*most), d.plain...)
	}
	var ok bool
	if d.plain, ok = appendHuffman(d.plain, raw); !ok {
		return nil, 0, compressionError("a string is not coded as it should be")
	}
	if s = d.plain[start:]; len(s) > d.longest {
		return nil, 0, ErrHeadLong
	}
	return s, n, nil
}

// Free releases string memory that a usual head does not need.
func (d *Decoder) Free() {
	if cap(d.plain) > 1024 {
		d.plain = nil
	}
}

// integer decodes an integer with a prefix of that many bits (RFC 7541 section 5.1). n
// is 0 when it is incomplete.
func integer(b []byte, prefix int) (v uint64, n int, err error) {
	mask := uint64(1)<<prefix - 1
	v = uint64(b[0]) & mask
	if v < mask {
		return v, 1, nil
	}
	for i := 1; i < len(b); i++ {
		if i > 5 { // no sensible size or index is longer
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
