package upstream

// Processing is what is known of how far a request came at its instance. It is
// all that a retry goes by.
type Processing uint8

// Nothing is guessed: a reset, the end of a connection that was idle, a missing
// acknowledgement prove nothing. The instance may have read all and then reset, or
// only the way back may be cut.
const (
	// Answered: an answer has begun.
	Answered Processing = iota
	// NotSent: not one byte of the request left for the instance.
	NotSent
	// Refused: the instance was reached and has said, or it is clear, that it did not
	// begin to process the request: a TLS handshake that failed, or HTTP/2's
	// REFUSED_STREAM and GOAWAY (RFC 9113 section 8.7).
	Refused
	// Unknown: bytes of it left, and no answer came.
	Unknown
)

// Failure is why an attempt brought no answer.
type Failure struct {
	Kind       FailureKind
	Processing Processing
	// Err says it for people, in words that clients may see.
	Err error
}

// Error says it for people.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// FailureKind says what failed.
type FailureKind uint8

// What may fail.
const (
	FailedDescriptor FailureKind = iota // no connection may be made here: ErrNoDescriptor
	FailedMemory                        // there is no memory for the answer's head
	FailedConnect                       // the address could not be connected to
	FailedHandshake                     // TLS failed: Err is a HandshakeError
	FailedBody                          // the request's body: Err is the body's
	FailedCaller                        // the request is not wanted any more
	FailedPath                          // the way to the instance is cut
	FailedAnswer                        // the answer is malformed: Err is wire's
	FailedInterim                       // there are more 1xx answers than allowed
	FailedSwitch                        // the instance switched protocols without being asked
	FailedTimeout                       // no answer came in time
	FailedClosed                        // the instance closed the connection before it answered
	FailedIdle                          // it did so with one that had been idle: perhaps before the request came
	FailedProtocol                      // it does not speak the protocol that its Target says: Err tells
	FailedRefused                       // it refused the request unprocessed: it is overloaded, or about to stop
	FailedUpgrade                       // it takes no upgrade of the request's kind: Err tells

	FailureKinds // how many there are
)
