package wire

import (
	"errors"
	"strconv"
)

// Error is a message that is refused. It is a constant: compare with ==.
type Error struct {
	// Status is the answer that RFC 9110 or 9112 names for it when it was
	// found in a request. Found in an answer, it makes a 502.
	Status int
	// Code is the short reason, as sent in X-Serai-Reason.
	Code string
	// Detail says what is wrong, for people.
	Detail string
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// FieldError says which field line is refused: its number, from 1, and the
// field's name where the line has one that may be shown. It never tells a value.
type FieldError struct {
	Err  *Error
	Line int
	Name string
}

// maxShownName bounds the name in a FieldError, in bytes.
const maxShownName = 64

// fieldError makes a FieldError. Name must be a token: it is printable.
func fieldError(err *Error, line int, name []byte) *FieldError {
	return &FieldError{err, line, string(name[:min(len(name), maxShownName)])}
}

// Unwrap returns what the line is refused for.
func (e *FieldError) Unwrap() error { return e.Err }

// Where says which line it is, for people.
func (e *FieldError) Where() string {
	where := "field line " + strconv.Itoa(e.Line)
	if e.Name != "" {
		where += ", " + e.Name
	}
	return where
}

func (e *FieldError) Error() string { return e.Err.Error() + " (" + e.Where() + ")" }

// ErrIncomplete says that a head has not come whole: read more and parse again.
var ErrIncomplete = errors.New("head is incomplete")

// What a head is refused for.
var (
	ErrRequestLine    = &Error{400, "bad-request-line", "the request line is not METHOD SP TARGET SP HTTP/1.x"}
	ErrMethod         = &Error{400, "bad-method", "the method is not a token"}
	ErrConnect        = &Error{501, "connect-refused", "CONNECT is not served here"}
	ErrTarget         = &Error{400, "bad-target", "the request target has a byte that must be percent-encoded, or a form that is not served"}
	ErrTargetLong     = &Error{414, "target-too-long", "the request target is longer than the limit"}
	ErrVersion        = &Error{505, "bad-version", "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	ErrStatusLine     = &Error{502, "bad-status-line", "the status line is not HTTP/1.x SP 3DIGIT SP REASON"}
	ErrLineEnd        = &Error{400, "bad-line-end", "a line ends in a bare LF or holds a bare CR"}
	ErrFieldName      = &Error{400, "bad-field-name", "a field name is empty, not a token, or followed by a blank"}
	ErrFieldValue     = &Error{400, "bad-field-value", "a field value holds a control character"}
	ErrFold           = &Error{400, "obs-fold", "a field is folded over two lines"}
	ErrHeadLarge      = &Error{431, "head-too-large", "the head has more bytes than the limit"}
	ErrFieldCount     = &Error{431, "too-many-fields", "the head has more fields than the limit"}
	ErrOptionCount    = &Error{431, "too-many-options", "Connection has more options than a head may have fields"}
	ErrHost           = &Error{400, "bad-host", "Host is not one valid host[:port]"}
	ErrHostMissing    = &Error{400, "host-missing", "an HTTP/1.1 request needs exactly one Host field"}
	ErrContentLength  = &Error{400, "bad-content-length", "Content-Length is not one decimal number"}
	ErrLengthTwice    = &Error{400, "content-length-twice", "Content-Length is repeated"}
	ErrLengthAndTE    = &Error{400, "length-and-chunked", "Content-Length and Transfer-Encoding exclude each other"}
	ErrTransferCoding = &Error{400, "bad-transfer-encoding", "Transfer-Encoding is not exactly one \"chunked\""}
	ErrCodingUnknown  = &Error{501, "unknown-transfer-coding", "the only transfer coding served is \"chunked\""}
	ErrCodingHTTP10   = &Error{400, "chunked-in-http-1.0", "Transfer-Encoding needs HTTP/1.1"}
	ErrExpect         = &Error{417, "bad-expect", "the only expectation served is \"100-continue\""}
)

// ErrOverloaded says that serai has no memory for more of a head or body. It is
// the fault of nobody in particular.
var ErrOverloaded = &Error{503, "overloaded", "no memory is left for this message"}

// What a body is refused for.
var (
	ErrChunkSize   = &Error{400, "bad-chunk-size", "a chunk size is not a bounded hexadecimal number"}
	ErrChunkExt    = &Error{400, "bad-chunk-extension", "a chunk extension is too long, or not ;NAME or ;NAME=VALUE"}
	ErrChunkEnd    = &Error{400, "bad-chunk-end", "the data of a chunk is not followed by CRLF"}
	ErrTrailer     = &Error{400, "bad-trailer", "the trailer section is malformed or too large"}
	ErrBodyCut     = &Error{400, "body-cut", "the connection ended before the message did"}
	ErrBodyTooLong = &Error{413, "body-too-large", "the body is larger than the route's max-body"}
)
