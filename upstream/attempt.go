package upstream

// Processing is what is known about how far a request came at its instance. Retries
// depend only on this.
type Processing uint8

// Nothing is guessed: a reset, the end of an idle connection, or a missing acknowledgement
// proves nothing. The instance may have read everything before it reset, or only the way
// back may be lost.
const (
	// Answered: an answer has begun.
	Answered Processing = iota
	// NotSent: no byte of the request was sent to the instance; or the instance is about to
	// stop and has not begun it (HTTP/2's GOAWAY, RFC 9113 section 6.8), so that it had no
	// work with it.
	NotSent
	// Refused: the instance was reached, and certainly did not begin to process the
	// request: a failed TLS handshake, or HTTP/2's REFUSED_STREAM (RFC 9113 section 8.7).
	Refused
	// Unknown: bytes of the request were sent, and no answer came.
	Unknown
)

// Failure is why an attempt got no answer.
type Failure struct {
	Kind       FailureKind
	Processing Processing
	// Err describes it for people, in words that clients may see.
	Err error
}

// Error describes it for people.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// FailureKind says what failed.
type FailureKind uint8

// What may fail.
const (
	FailedDescriptor FailureKind = iota // no descriptor is left for a connection: ErrNoDescriptor
	FailedMemory                        // there is no memory for the answer's head
	FailedConnect                       // the connect failed
	FailedHandshake                     // TLS failed: Err is a HandshakeError
	FailedBody                          // the request's body failed: Err is the body's
	FailedCaller                        // the request is no longer wanted
	FailedPath                          // the network path to the instance is cut
	FailedAnswer                        // the answer is malformed: Err is wire's
	FailedInterim                       // there are more 1xx answers than allowed
	FailedSwitch                        // the instance switched protocols without being asked
	FailedTimeout                       // no answer came in time
	FailedClosed                        // the instance closed the connection before it answered
	FailedIdle                          // the instance closed an idle connection, perhaps before the request arrived
	FailedProtocol                      // the instance does not speak the protocol of its Target: Err says how
	FailedRefused                       // the instance refused the request unprocessed: it is overloaded, or about to stop
	FailedUpgrade                       // the instance does not support this kind of upgrade: Err says why
	FailedIdentity                      // serai has no valid certificate of Consul's mesh: ErrNoIdentity
	FailedDenied                        // the instance's sidecar in Consul's mesh does not let serai in: Err is a DeniedError

	FailureKinds // the number of kinds
)
