package proxy

import (
	"errors"
	"os"
	"strings"

	"serai/upstream"
	"serai/wire"
)

// failure is why an attempt brought no answer, and what that means for the client.
type failure struct {
	status int    // what the client is told when there is no further attempt, 0 to cut the connection
	reason string // its short code
	detail string // for people
	// processed is what the instance may have done.
	processed upstream.Processing
	// final says that no other instance can help: the client is the one who failed,
	// or serai itself.
	final bool
	// blame says that the instance took the request and failed it.
	blame bool
}

// Short codes of more than one place.
const (
	reasonCut     = "upstream-cut"
	reasonTimeout = "upstream-timeout"
	// The TLS handshake with the instance failed.
	reasonHandshake = "tls-failed"
)

var errClientGone = errors.New("the client left")

// failures has what each kind of failure means. A detail that ends in a blank is
// followed by what the transport says.
var failures = [upstream.FailureKinds]failure{
	// Another instance would need a descriptor, too.
	upstream.FailedDescriptor: {status: 503, reason: "no-descriptor", final: true, detail: "no more connections to instances can be made"},
	upstream.FailedConnect:    {status: 502, reason: "connect-failed", detail: "no connection to the instance could be made"},
	upstream.FailedHandshake:  {status: 502, reason: reasonHandshake, blame: true, detail: "no TLS connection to the instance could be made: "},
	upstream.FailedBody:       {reason: "client-gone", final: true, detail: errClientGone.Error()}, // see explainBody
	upstream.FailedCaller:     {reason: "client-gone", final: true, detail: errClientGone.Error()},
	upstream.FailedPath:       {status: 502, reason: "upstream-lost", detail: " "},
	upstream.FailedAnswer:     {status: 502, reason: "bad-answer", blame: true, detail: "the instance's answer is malformed: "},
	upstream.FailedInterim:    {status: 502, reason: "too-many-interim", blame: true, detail: " "},
	upstream.FailedSwitch:     {status: 502, reason: "bad-answer", blame: true, detail: " "},
	upstream.FailedTimeout:    {status: 504, reason: reasonTimeout, blame: true, detail: "the instance did not answer in time"},
	upstream.FailedClosed:     {status: 502, reason: "upstream-closed", blame: true, detail: "the instance closed the connection before it answered"},
	upstream.FailedIdle:       {status: 502, reason: "upstream-closed", detail: "the instance closed the connection before it answered"},
}

// explain tells what a transport's failure means.
func (x *Exchange) explain(failed *upstream.Failure) *failure {
	f := failures[failed.Kind]
	f.processed = failed.Processing
	if strings.HasSuffix(f.detail, " ") {
		f.detail = strings.TrimPrefix(f.detail, " ") + cause(failed.Err)
	}
	switch failed.Kind {
	case upstream.FailedBody:
		explainBody(&f, failed.Err)
	case upstream.FailedHandshake:
		// A name that the client chose, within a wildcard, is not the instance's
		// fault.
		var tls *upstream.HandshakeError
		if errors.As(failed.Err, &tls) && tls.OfName && strings.HasPrefix(x.Route.Host, "*") {
			f.blame = false
		}
	}
	return &f
}

// cause puts a transport's error in words that clients may see.
func cause(err error) string {
	var tls *upstream.HandshakeError
	var field *wire.FieldError
	var refused *wire.Error
	switch {
	case errors.As(err, &tls):
		return tls.Cause
	case errors.As(err, &field):
		return field.Err.Code + " in " + field.Where()
	case errors.As(err, &refused):
		return refused.Code
	}
	return err.Error()
}

// explainBody tells what a client's fault in the body means for its answer.
func explainBody(f *failure, err error) {
	var refused *wire.Error
	switch {
	case errors.As(err, &refused) && refused != wire.ErrBodyCut:
		f.status, f.reason, f.detail = refused.Status, refused.Code, refused.Detail
	case err == errPanicked:
		f.reason, f.detail = ReasonPanic, err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.status, f.reason, f.detail = 408, "body-timeout", "the request's body did not come in time"
	}
}
