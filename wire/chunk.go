package wire

import "bytes"

// Bounds of the framing of a chunked body, so that a client cannot flood serai with it.
const (
	maxChunkDigits = 15       // digits of a chunk size
	maxChunkLine   = 1 << 10  // bytes of one chunk header line
	maxChunkExtSum = 16 << 10 // bytes of all size lines that have more than a size
)

// parseChunkLine parses a chunk's size and extensions (RFC 9112 section 7.1). It
// returns 0 bytes when the line is incomplete.
//
// Extensions are ignored, but must be valid. Readers disagree about bad white space,
// and about zeros before the size. Only an answer may have them, because serai frames
// its body anew.
func parseChunkLine(buf []byte, s syntax) (size int64, n int, err error) {
	i := 0
	if s == lenient {
		for i < min(len(buf), maxChunkLine) && buf[i] == '0' {
			i++
		}
	}
	zeros := i
	for ; i < len(buf) && class[buf[i]]&classHex != 0; i++ {
		if i-zeros == maxChunkDigits {
			return 0, 0, ErrChunkSize
		}
		size = size<<4 | int64(hexValue(buf[i]))
	}
	switch {
	case i > maxChunkLine:
		return 0, 0, ErrChunkSize
	case i == len(buf):
		return 0, 0, nil
	case i == 0:
		return 0, 0, ErrChunkSize
	}
	blank := buf[i] == ' ' || buf[i] == '\t'
	if buf[i] != ';' && buf[i] != '\r' && !(blank && s == lenient) {
		return 0, 0, ErrChunkSize
	}
	end := bytes.IndexByte(buf[i:min(len(buf), maxChunkLine+1)], '\n')
	switch end += i; {
	case end < i && len(buf) > maxChunkLine:
		return 0, 0, ErrChunkExt
	case end < i && buf[i] == '\r' && len(buf) > i+1:
		return 0, 0, ErrChunkExt // a bare CR
	case end < i:
		return 0, 0, nil
	case buf[end-1] != '\r' || !validExtensions(buf[i:end-1], s):
		return 0, 0, ErrChunkExt
	}
	return size, end + 1, nil
}

// validExtensions reports whether e is *( BWS ";" BWS name [ BWS "=" BWS value ]) of
// RFC 9112 section 7.1.1, in a request without the BWS. An answer may have blanks at
// the end, because some servers pad the size with them.
func validExtensions(e []byte, s syntax) bool {
	for {
		if e = skipBlanks(e, s); len(e) == 0 {
			return true
		}
		if e[0] != ';' {
			return false
		}
		e = skipBlanks(e[1:], s)
		n := tokenLength(e)
		if n == 0 {
			return false
		}
		e = skipBlanks(e[n:], s)
		if len(e) == 0 || e[0] != '=' {
			continue
		}
		e = skipBlanks(e[1:], s)
		if n = tokenLength(e); n == 0 {
			n = quotedLength(e)
		}
		if n == 0 {
			return false
		}
		e = e[n:]
	}
}

// skipBlanks skips bad white space if s allows it.
func skipBlanks(e []byte, s syntax) []byte {
	for s == lenient && len(e) > 0 && (e[0] == ' ' || e[0] == '\t') {
		e = e[1:]
	}
	return e
}

// tokenLength returns the length of the token at the start of e.
func tokenLength(e []byte) (n int) {
	for n < len(e) && class[e[n]]&classToken != 0 {
		n++
	}
	return n
}

// quotedLength returns the length of the quoted-string at the start of e, 0 for none
// (RFC 9110 section 5.6.4).
func quotedLength(e []byte) int {
	if len(e) == 0 || e[0] != '"' {
		return 0
	}
	for i := 1; i < len(e); i++ {
		switch {
		case e[i] == '"':
			return i + 1
		case e[i] == '\\':
			if i++; i == len(e) {
				return 0
			}
		}
		if b := e[i]; b < 0x20 && b != '\t' || b == 0x7f {
			return 0
		}
	}
	return 0
}

func hexValue(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b <= 'F':
		return b - 'A' + 10
	}
	return b - 'a' + 10
}
