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
	// Fill reads once, appending to the unread bytes. It fails with
	// ErrBufferFull where there is no room for more.
	Fill() error
	// EnlargeMore is called for a body that is worth the largest buffer there is.
	EnlargeMore()
}

// ErrBufferFull says that a Source's buffer is as large as it may be, and all of
// it is unread.
var ErrBufferFull = errors.New("read buffer is full")

// largeFrom is from how many bytes on a body is worth a Source's largest buffer.
const largeFrom = 1 << 20

// Body decodes the content of one message from a Source. It hands out slices of
// the source's buffer and copies nothing.
type Body struct {
	source  Source
	framing Framing
	left    int64 // bytes to come of the body, or of the chunk
	passed  int64 // bytes handed out
	phase   chunkPhase
	syntax  syntax
	extSum  int
	limits  Limits
	ready   []byte // found by Ready, not yet handed out
	err     error  // final: io.EOF after the clean end

	trailers []Field
}

type chunkPhase uint8

const (
	chunkLine chunkPhase = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// Reset starts a body of that framing at the unread bytes of c. Size is only
// used with Length.
func (b *Body) Reset(c Source, f Framing, size int64, l Limits) {
	*b = Body{source: c, framing: f, left: size, limits: l, trailers: b.trailers[:0]}
	if f == NoBody || f == Length && size == 0 {
		b.err = io.EOF
	}
}

// ResetAnswer is Reset for the body of an answer, whose chunks may have blanks
// and zeros that cannot be misread.
func (b *Body) ResetAnswer(c Source, f Framing, size int64, l Limits) {
	b.Reset(c, f, size, l)
	b.syntax = lenient
}

// Next returns the next bytes of the content, at least one, reading once or
// more when none is buffered. They are valid until the next call. The error is
// io.EOF after the clean end, an *Error for bad framing, ErrBodyCut when the
// source ended too early, or the source's own error.
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
			b.err = err
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
		return ErrTrailer // nothing else waits for so much at once
	}
	return b.ended(err)
}

// ended returns what the error of a read means for the body.
func (b *Body) ended(err error) error {
	if err == io.EOF && b.framing != UntilEOF {
		return ErrBodyCut
	}
	return err
}

// Direct returns how many bytes of the content come next from the source as they
// are, none of them buffered: a caller may take them past it, and tells with
// Took how many it did. It is 0 where only Next has them.
func (b *Body) Direct() int64 {
	if b.framing != Length || b.Ready() || b.err != nil {
		return 0
	}
	return b.left
}

// Took notes that n bytes, at most Direct's, were taken past the source, or that
// this failed. It returns what the error means for the body.
func (b *Body) Took(n int, err error) error {
	if err != nil {
		b.err = b.ended(err)
		return b.err
	}
	if b.left -= int64(n); b.left == 0 && n > 0 {
		b.err = io.EOF
	}
	return nil
}

// Resume has Next go on where a read has failed that may succeed now. Nothing of a body of
// framing Length is lost by that.
func (b *Body) Resume() {
	if b.err != io.EOF && b.err != ErrBodyCut {
		b.err = nil
	}
}

// Ready reports whether Next would return bytes without reading.
func (b *Body) Ready() bool {
	if b.ready == nil && b.err == nil {
		if b.framing == Chunked {
			b.err = b.chunk()
		} else {
			b.ready = b.take()
		}
	}
	return b.ready != nil
}

// Done reports whether the clean end has been seen.
func (b *Body) Done() bool {
	b.Ready()
	return b.err == io.EOF
}

// take takes what is buffered of a plain body.
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
			b.err = io.EOF
		}
	}
	return data
}

// maxMoved is the most of a chunk, in bytes, that is moved up to the data of the chunk
// before, so that both are handed out at once. To send many small ones on one by one
// would cost a thousand times what it costs the peer to send them together.
const maxMoved = 2 << 10

// chunk goes on through the buffered bytes until there is data in b.ready, and no small
// chunk behind it, or nothing complete is left (RFC 9112 section 7.1).
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

// Trailers returns the fields after the last chunk. They are complete, and
// valid until the next read, once Next has returned io.EOF.
func (b *Body) Trailers() []Field { return b.trailers }
