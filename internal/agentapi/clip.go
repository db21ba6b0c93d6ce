package agentapi

import (
	"errors"
	"io"
)

// MaxText is how many bytes are read of one text of a list. A text that has as many was
// longer, or may have been.
const MaxText = 32 << 10

// maxGap is how many bytes may lie between two texts, brackets, colons or commas: a number,
// or white space.
const maxGap = 4 << 10

// ErrGap: what lies between two parts of a list is no number that anybody sends.
var ErrGap = errors.New("a number, or white space, in the answer is longer than is read")

// clip passes JSON on with its texts cut off at a number of bytes, so that whoever parses it as it
// comes needs memory for one text, however long it is. Each escape sequence counts as one
// byte, of which it has at least one, and is never cut.
type clip struct {
	from io.Reader
	max  int // MaxText
	// begin is how the answer begins, size how long it was so far, err why it ended.
	begin []byte
	size  int64
	err   error

	state clipState
	text  int // bytes of this text so far
	digit int // hexadecimal digits that are missing of an escape sequence
	gap   int // bytes since the last text, bracket, colon or comma
}

type clipState int

const (
	outside clipState = iota
	inText
	escaped // behind a backslash
	digits  // behind a backslash and a u
)

// Read reads as an io.Reader does.
func (c *clip) Read(p []byte) (int, error) {
	for c.err == nil {
		n, err := c.from.Read(p)
		c.size += int64(n)
		if free := maxBegin - len(c.begin); free > 0 {
			c.begin = append(c.begin, p[:min(n, free)]...)
		}
		kept := p[:0]
		for _, b := range p[:n] {
			if c.keeps(b) {
				kept = append(kept, b)
			}
		}
		if c.err = err; err == nil && c.gap > maxGap {
			c.err = ErrGap
		}
		if len(kept) > 0 {
			return len(kept), nil
		}
	}
	return 0, c.err
}

// keeps reports whether the next byte is passed on.
func (c *clip) keeps(b byte) bool {
	switch c.state {
	case outside:
		switch b {
		case '"':
			c.state, c.text, c.gap = inText, 0, 0
		case '[', ']', '{', '}', ',', ':':
			c.gap = 0
		default:
			c.gap++
		}
		return true
	case inText:
		if b == '"' {
			c.state = outside
			return true
		}
		if c.text++; b == '\\' {
			c.state = escaped
		}
	case escaped:
		c.state = inText
		if b == 'u' {
			c.state, c.digit = digits, 4
		}
	case digits:
		if c.digit--; c.digit == 0 {
			c.state = inText
		}
	}
	return c.text <= c.max
}
