package wire

// Framing says how a message's body ends (RFC 9112 section 6).
type Framing uint8

// The framings.
const (
	NoBody   Framing = iota
	Length           // Content-Length
	Chunked          // Transfer-Encoding: chunked
	UntilEOF         // an answer that ends with its connection
)

// maxLengthDigits ensures that a Content-Length fits into an int64.
const maxLengthDigits = 18

// framing collects the fields that frame a message.
type framing struct {
	coding, length bool
	size           int64
}

// ParseLength parses a Content-Length, which must consist of digits (RFC 9110 section
// 8.6).
func ParseLength(value []byte) (n int64, ok bool) {
	if len(value) == 0 || len(value) > maxLengthDigits {
		return 0, false
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, true
}

// add adds a field of kind ContentLength or TransferEncoding.
func (f *framing) add(field *Field) error {
	if field.Kind == ContentLength {
		if f.length {
			return ErrLengthTwice
		}
		f.length = true
		size, ok := ParseLength(field.Value)
		if !ok {
			return ErrContentLength
		}
		f.size = size
		return nil
	}
	if f.coding {
		return ErrTransferCoding
	}
	f.coding = true
	if EqualFold(field.Value, "chunked") {
		return nil
	}
	// RFC 9112 section 6.1: a coding that is not understood is answered 501.
	if first, _ := nextElement(field.Value); len(first) > 0 && all(first, classToken) && !EqualFold(first, "chunked") {
		return ErrCodingUnknown
	}
	return ErrTransferCoding
}

// result returns the framing of a message of HTTP/1.minor.
func (f *framing) result(minor uint8) (Framing, int64, error) {
	switch {
	case f.coding && f.length:
		return 0, 0, ErrLengthAndTE
	case f.coding && minor == 0:
		return 0, 0, ErrCodingHTTP10
	case f.coding:
		return Chunked, 0, nil
	case f.length:
		return Length, f.size, nil
	}
	return NoBody, 0, nil
}
