package http2

// ErrHeadLong says that there is more of a head than it may have, or than there is
// memory for.
var ErrHeadLong error = &ConnError{EnhanceYourCalm, "a head, or one of its fields, is longer than it may be"}

// Block decodes the blocks of a connection, one after the other, from fragments as
// frames bring them. A block is decoded to its end whatever is wrong with it, since
// later ones build on it.
type Block struct {
	// Room is asked before more than InlineSize bytes are kept that are no whole field
	// yet; nil allows all. Whoever gave room has it back when Large is false.
	Room func() bool

	decoder Decoder
	head    int    // bytes of the longest head
	most    int    // bytes of one block
	size    int    // of the block so far
	rest    []byte // of the last fragments: what is not decoded yet
	again   int    // how long rest has to be until it is tried again
	large   bool
	entry   Entry // being decoded
}

// Collector takes the fields of a block, in order. It copies what it keeps.
type Collector interface{ Add(*Entry) }

// NewBlock makes a Block for heads of so many bytes, whose blocks have at most so many.
func NewBlock(head, most int) Block {
	return Block{decoder: NewDecoder(TableSize, head), head: head, most: most}
}

// Take decodes a fragment, and gives each field to c. Last says that the block ends
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
		// A long field that comes in small pieces is not decoded for each of them.
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
	return k.keep(b)
}

// decode decodes whole fields, and returns the bytes behind them.
func (k *Block) decode(b []byte, c Collector) ([]byte, error) {
	for len(b) > 0 {
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

// keep keeps bytes that are no whole field.
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

// MaxKept returns how many bytes are kept of a block at most.
func (k *Block) MaxKept() int { return 2*k.head + FrameSize }

// Large reports whether Room was given.
func (k *Block) Large() bool { return k.large }

// Drop forgets the block under way, and gives its memory back.
func (k *Block) Drop() { k.rest, k.size, k.again, k.large = nil, 0, 0, false }
