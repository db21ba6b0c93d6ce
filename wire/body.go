package wire

import (
	"errors"
	"io"
)

// Source is where a Body's bytes come from: a connection with a read buffer.
type Source interface {
	// Buffered returns the unread bytes, valid until the next Fill.
	Buffered() []byte
	// Discard marks the first n unread bytes as read. They stay valid.
	Discard(n int)
	// Fill reads once, and appends to the unread bytes. It fails with ErrBufferFull if
	// there is no room for more.
	Fill() error
	// EnlargeMore is called for a body that is large enough for the largest buffer.
	EnlargeMore()
}

// ErrBufferFull means that a Source's buffer has its largest size, and is full of
// unread bytes.
var ErrBufferFull = errors.New("read buffer is full")

// largeFrom is the number of bytes after which a body gets a Source's largest buffer.
const largeFrom = 1 << 20

// Body decodes the body of one message from a Source. It returns slices of the source's
// buffer and copies nothing.
type Body struct {
	source  Source
	framing Framing
	left    int64 // bytes of the body, or of the chunk, that are still to come
	passed  int64 // bytes that Next has returned
	phase   chunkPhase
	syntax  syntax
	extSum  int
	limits  Limits
	ready   []byte // found by Ready, not yet returned by Next
	err     error  // final, set by end: io.EOF after the proper end
	whole   bool   // err is io.EOF

	trailers []Field
}

type chunkPhase uint8

const (
	chunkLine chunkPhase = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// Reset starts a body with that framing at the unread bytes of c. Size is only used
// with Length.
func (b *Body) Reset(c Source, f Framing, size int64, l Limits) {
	*b = Body{source: c, framing: f, left: size, limits: l, trailers: b.trailers[:0]}
	if f == NoBody || f == Length && size == 0 {
		b.end(io.EOF)
	}
}

// end ends the body. Whether that was its proper end is asked several times for each request.
func (b *Body) end(err error) { b.err, b.whole = err, err == io.EOF }

// ResetAnswer is Reset for the body of an answer, whose chunks may have blanks and
// zeros that cannot be misread.
func (b *Body) ResetAnswer(c Source, f Framing, size int64, l Limits) {
	b.Reset(c, f, size, l)
	b.syntax = lenient
}

// Next returns the next bytes of the body, at least one. It reads if none is buffered.
// They are valid until the next call. The error is io.EOF after the proper end, an
// *Error for bad framing, ErrBodyCut when the source ended too early, or the source's
// own error.
func (b *Body) Next() ([]byte, error) {
	for {
		if b.Ready() {
			data := b.ready
			b.ready = nil
			b.passed += int64(len(data))
			return data, nil
		}
		if b.err != nil {
			return nil, b.err
		}
		if err := b.fill(); err != nil {
			b.end(err)
			return nil, err
		}
	}
}

func (b *Body) fill() error {
	if b.passed >= largeFrom {
		b.source.EnlargeMore()
	}
	err := b.source.Fill()
	if err == ErrBufferFull {
		return ErrTrailer // only trailers can fill the buffer
	}
	return b.ended(err)
}

// ended returns what a read error means for the body.
func (b *Body) ended(err error) error {
	if err == io.EOF && b.framing != UntilEOF {
		return ErrBodyCut
	}
	return err
}

// Direct returns how many bytes of the body come next from the source unchanged, with
// none of them buffered. A caller may read them past the source, and reports with Took
// how many it read. It is 0 if only Next can return them.
func (b *Body) Direct() int64 {
	if b.framing != Length || b.Ready() || b.err != nil {
		return 0
	}
	return b.left
}

// Took records that n bytes, at most Direct's, were read past the source, or that this
// failed. It returns what the error means for the body.
func (b *Body) Took(n int, err error) error {
	if err != nil {
		b.end(b.ended(err))
		return b.err
	}
	if b.left -= int64(n); b.left == 0 && n > 0 {
		b.end(io.EOF)
	}
	return nil
}

// Resume has Next go on where a read has failed that may succeed now. Nothing of a body of
// framing Length is lost by that.
func (b *Body) Resume() {
	if !b.whole && b.err != ErrBodyCut {
		b.err = nil
	}
}

// Ready reports whether Next would return bytes without reading.
func (b *Body) Ready() bool {
	if b.ready == nil && b.err == nil {
		if b.framing == Chunked {
			if err := b.chunk(); err != nil {
				b.end(err)
			}
		} else {
			b.ready = b.take()
		}
	}
	return b.ready != nil
}

// Done reports whether the body has ended properly.
func (b *Body) Done() bool {
	b.Ready()
	return b.whole
}

// take takes the buffered bytes of a body that is not chunked.
func (b *Body) take() []byte {
	data := b.source.Buffered()
	if len(data) == 0 {
		return nil
	}
	if b.framing == Length && int64(len(data)) > b.left {
		data = data[:b.left]
	}
	b.source.Discard(len(data))
	if b.framing == Length {
		if b.left -= int64(len(data)); b.left == 0 {
			b.end(io.EOF)
		}
	}
	return data
}

// maxMoved is the most of a chunk, in bytes, that is moved up to the data of the chunk
// before, so that both are handed out at once. To send many small ones on one by one
// would cost a thousand times what it costs the peer to send them together.
const maxMoved = 2 << 10

// chunk parses the buffered bytes until there is data in b.ready, and no small chunk
// behind it, or nothing complete is left (RFC 9112 section 7.1).
func (b *Body) chunk() error {
	for {
		buf := b.source.Buffered()
		switch b.phase {
		case chunkLine:
			size, n, err := parseChunkLine(buf, b.syntax)
			if n == 0 || err != nil {
				return err
			}
			if b.ready != nil && (size == 0 || min(size, int64(len(buf)-n)) > maxMoved) {
				return nil
			}
			if n > maxChunkDigits+len("\r\n") {
				if b.extSum += n; b.extSum > maxChunkExtSum {
					return ErrChunkExt
				}
			}
			b.source.Discard(n)
			if b.left, b.phase = size, chunkData; size == 0 {
				b.phase = chunkTrailers
			}
		case chunkData:
			if len(buf) == 0 {
				return nil
			}
			data := buf[:min(int64(len(buf)), b.left)]
			b.source.Discard(len(data))
			if b.ready == nil {
				b.ready = data
			} else {
				b.ready = append(b.ready, data...) // within the buffer, over the line between them
			}
			if b.left -= int64(len(data)); b.left > 0 {
				return nil
			}
			b.phase = chunkEnd
		case chunkEnd:
			if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
				return ErrChunkEnd
			}
			if len(buf) < 2 {
				return nil
			}
			b.source.Discard(2)
			b.phase = chunkLine
		case chunkTrailers:
			var n int
			var err error
			b.trailers, n, err = parseFields(buf, b.trailers[:0], b.limits.Fields, b.syntax)
			switch {
			case err == ErrIncomplete:
				return nil
			case err != nil:
				return ErrTrailer
			}
			b.source.Discard(n)
			return io.EOF
		}
	}
}

// Trailers returns the fields after the last chunk. Once Next has returned io.EOF they
// are complete, and valid until the next read.
func (b *Body) Trailers() []Field { return b.trailers }
