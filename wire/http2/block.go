package http2

// ErrHeadLong means that a head is longer than the limit, or than the memory for it.
var ErrHeadLong error = &ConnError{EnhanceYourCalm, "a head, or one of its fields, is longer than it may be"}

// Block decodes the header blocks of a connection, one after another, from the
// fragments that frames bring. It decodes each block to its end, even a faulty one,
// because later blocks depend on it.
type Block struct {
	// Room is called before more than InlineSize bytes of incomplete fields are kept,
	// and allows it; nil allows it always. The memory may be taken back when Large is
	// false.
	Room func() bool

	decoder Decoder
	head    int    // limit of a head, in bytes
	most    int    // limit of one block, in bytes
	size    int    // size of the block so far
	rest    []byte // bytes of the last fragments that are not decoded yet
	again   int    // length of rest at which decoding is tried again
	large   bool   // Room has allowed more memory
	entry   Entry  // the entry that is being decoded
}

// Collector gets the fields of a block, in order. It must copy what it keeps, and change
// nothing of them.
type Collector interface{ Add(*Entry) }

// NewBlock makes a Block for heads of at most head bytes, in blocks of at most most
// bytes.
func NewBlock(head, most int) Block {
	return Block{decoder: NewDecoder(TableSize, head), head: head, most: most}
}

// Take decodes a fragment, and passes each field to c. Last says that the block ends
// with it. An error ends the connection.
func (k *Block) Take(fragment []byte, last bool, c Collector) error {
	if k.size += len(fragment); k.size > k.most {
		return ErrHeadLong
	}
	b := fragment
	if len(k.rest) > 0 {
		if err := k.keep(fragment); err != nil {
			return err
		}
		// Do not try to decode a long field again for every small piece of it.
		if len(k.rest) < k.again && !last {
			return nil
		}
		b = k.rest
	}
	b, err := k.decode(b, c)
	switch {
	case err != nil:
		return err
	case last && len(b) > 0:
		return &ConnError{CompressionError, "a block ends within a field"}
	case last:
		k.decoder.End()
		k.decoder.Free()
		k.Drop()
		return nil
	}
	k.again = 2 * len(b)
	if len(k.rest) > 0 {
		k.rest = k.rest[:copy(k.rest, b)]
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	return k.keep(b)
}

// decode decodes complete fields, and returns the bytes after them.
func (k *Block) decode(b []byte, c Collector) ([]byte, error) {
	for len(b) > 0 {
		if e := k.decoder.short(b[0]); e != nil {
			c.Add(e)
			b = b[1:]
			continue
		}
		n, found, err := k.decoder.Next(b, &k.entry)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if b = b[n:]; found {
			c.Add(&k.entry)
		}
	}
	return b, nil
}

// keep keeps bytes of an incomplete field.
func (k *Block) keep(b []byte) error {
	n := len(k.rest) + len(b)
	if n > 2*k.head+FrameSize {
		return ErrHeadLong
	}
	if n > InlineSize && !k.large {
		if k.Room != nil && !k.Room() {
			return ErrHeadLong
		}
		k.large = true
	}
	k.rest = append(k.rest, b...)
	return nil
}

// MaxKept returns how many bytes of a block are kept at most.
func (k *Block) MaxKept() int { return 2*k.head + FrameSize }

// Large reports whether Room has allowed more memory.
func (k *Block) Large() bool { return k.large }

// Drop drops the current block and its memory.
func (k *Block) Drop() { k.rest, k.size, k.again, k.large = nil, 0, 0, false }
