package http2

import (
	"errors"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// resetError means that the instance has reset a stream.
type resetError struct{ code http2.Code }

func (e *resetError) Error() string { return upstream.ErrReset.Error() + ": " + e.code.String() }

// Unwrap returns what upstream calls it.
func (e *resetError) Unwrap() error { return upstream.ErrReset }

// Why a stream or a connection has ended.
var (
	errNotHTTP2 = errors.New("the instance does not speak HTTP/2")
	errSettings = errors.New("the instance sent no SETTINGS in time")
	errNoStream = errors.New("the instance allows no requests over a new connection (SETTINGS_MAX_CONCURRENT_STREAMS is 0)")
	errALPN     = errors.New("the instance does not choose HTTP/2 (ALPN h2) in the TLS handshake")
	errGoAway   = errors.New("the instance is closing the connection and did not begin the request (GOAWAY)")
	errRetired  = errors.New("the connection takes no more requests") // nothing was sent
	// errClosedBefore is for requests of which nothing was sent.
	errClosedBefore = errors.New("the instance has closed the connection before the request")
	errCut          = errors.New("the instance closed the connection")
	errLost         = errors.New("it does not acknowledge what it is sent")
	errOver         = errors.New("the connection is of no use any more") // closed by serai
	errPanicked     = errors.New("serai panicked, and cut the connection to the instance")
	errUnwanted     = errors.New("the client left")
	errInterim      = errors.New("the instance sent more 1xx answers than --max-interim allows")
	errNoTunnel     = errors.New("the instance takes no WebSocket over HTTP/2: it does not offer extended CONNECT (RFC 8441)")
	errBody         = errors.New("the body of the request failed") // the upload knows why
)

// Why an answer is refused, besides wire's errors.
var (
	errPseudo      = &wire.Error{Status: 502, Code: "bad-pseudo-field", Detail: "an answer has :status once, before all other fields, and no other field that begins with a colon"}
	errConnField   = &wire.Error{Status: 502, Code: "connection-field", Detail: "a connection-specific header field is not allowed in HTTP/2"}
	errOrder       = &wire.Error{Status: 502, Code: "bad-order", Detail: "the frames of an answer are not in the order head, body, trailers"}
	errLength      = &wire.Error{Status: 502, Code: "bad-length", Detail: "the body is not as long as Content-Length says"}
	errUnasked     = &wire.Error{Status: 502, Code: "unexpected-body", Detail: "an answer without a body has one"}
	errFlowControl = &wire.Error{Status: 502, Code: "flow-control", Detail: "the instance sends more than it may"}
)
