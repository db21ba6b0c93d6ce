package wire

import "io"

// Body decodes the content of one message from a Conn. It hands out slices of
// the connection's buffer and copies nothing.
type Body struct {
	conn    *Conn
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
func (b *Body) Reset(c *Conn, f Framing, size int64, l Limits) {
	*b = Body{conn: c, framing: f, left: size, limits: l, trailers: b.trailers[:0]}
	if f == NoBody || f == Length && size == 0 {
		b.err = io.EOF
	}
}

// ResetAnswer is Reset for the body of an answer, whose chunks may have blanks
// and zeros that cannot be misread.
func (b *Body) ResetAnswer(c *Conn, f Framing, size int64, l Limits) {
	b.Reset(c, f, size, l)
	b.syntax = lenient
}

// Next returns the next bytes of the content, at least one, reading once or
// more when none is buffered. They are valid until the next call. The error is
// io.EOF after the clean end, an *Error for bad framing, ErrBodyCut when the
// connection ended too early, or the connection's own error.
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
	if b.passed >= hugeFrom {
		b.conn.enlargeMore()
	}
	err := b.conn.Fill()
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

// Pull moves the next bytes of the content into an empty p and returns how many.
// It returns none, and no error, where only Next has them: p is nil, they have
// been read already, or do not come over the socket as they are. Errors are
// Next's.
func (b *Body) Pull(p *Pipe) (int, error) {
	if !p.fit() || b.framing != Length || b.Ready() || b.err != nil || !b.conn.Plain() {
		return 0, nil
	}
	n, err := p.fill(b.conn, b.left)
	if err != nil {
		b.err = b.ended(err)
		return 0, b.err
	}
	if b.left -= int64(n); b.left == 0 {
		b.err = io.EOF
	}
	return n, nil
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
	data := b.conn.Buffered()
	if len(data) == 0 {
		return nil
	}
	if b.framing == Length && int64(len(data)) > b.left {
		data = data[:b.left]
	}
	b.conn.Discard(len(data))
	if b.framing == Length {
		if b.left -= int64(len(data)); b.left == 0 {
			b.err = io.EOF
		}
	}
	return data
}

// chunk goes on through the buffered bytes until there is data in b.ready, or
// nothing complete is left (RFC 9112 section 7.1).
func (b *Body) chunk() error {
	for {
		buf := b.conn.Buffered()
		switch b.phase {
		case chunkLine:
			size, n, err := parseChunkLine(buf, b.syntax)
			if n == 0 || err != nil {
				return err
			}
			if n > maxChunkDigits+len("\r\n") {
				if b.extSum += n; b.extSum > maxChunkExtSum {
					return ErrChunkExt
				}
			}
			b.conn.Discard(n)
			if b.left, b.phase = size, chunkData; size == 0 {
				b.phase = chunkTrailers
			}
		case chunkData:
			if len(buf) == 0 {
				return nil
			}
			b.ready = buf[:min(int64(len(buf)), b.left)]
			b.conn.Discard(len(b.ready))
			if b.left -= int64(len(b.ready)); b.left == 0 {
				b.phase = chunkEnd
			}
			return nil
		case chunkEnd:
			if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
				return ErrChunkEnd
			}
			if len(buf) < 2 {
				return nil
			}
			b.conn.Discard(2)
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
			b.conn.Discard(n)
			return io.EOF
		}
	}
}

// Trailers returns the fields after the last chunk. They are complete, and
// valid until the next read, once Next has returned io.EOF.
func (b *Body) Trailers() []Field { return b.trailers }
