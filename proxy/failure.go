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
	status int    // the answer when there is no further attempt; 0 cuts the connection
	reason string // the short code
	detail string // for people
	// processed says whether the instance may have processed the request.
	processed upstream.Processing
	// final says that no other instance can help, because the client or serai itself
	// failed.
	final bool
	// idle says that the request's connection had been idle, and ended.
	idle bool
	// blame says that the instance took the request and failed.
	blame bool
	// again says that there will be another attempt although the instance has answered.
	again bool
}

var errClientGone = errors.New("the client left")

// meaning is what one kind of a transport's failure means.
type meaning struct {
	reason       Reason
	blame, final bool
	// detail replaces the reason's own words in the answer. If it ends in a space, the
	// transport's error follows.
	detail string
}

// meanings has the meaning of each kind of failure.
var meanings = [upstream.FailureKinds]meaning{
	// Another instance would need a descriptor, too.
	upstream.FailedDescriptor: {reason: ReasonNoDescriptor, final: true},
	upstream.FailedMemory:     {reason: ReasonOverloaded, final: true},
	upstream.FailedConnect:    {reason: ReasonConnectFailed},
	upstream.FailedHandshake:  {reason: ReasonHandshakeFailed, blame: true, detail: "no TLS connection to the instance could be made: "},
	upstream.FailedBody:       {reason: ReasonClientGone, final: true}, // unless explainBody sets another reason
	upstream.FailedCaller:     {reason: ReasonClientGone, final: true},
	upstream.FailedPath:       {reason: ReasonUpstreamLost, detail: " "},
	upstream.FailedAnswer:     {reason: ReasonBadAnswer, blame: true, detail: "the instance's answer is malformed: "},
	upstream.FailedInterim:    {reason: ReasonTooManyInterim, blame: true, detail: " "},
	upstream.FailedSwitch:     {reason: ReasonBadAnswer, blame: true, detail: " "},
	upstream.FailedTimeout:    {reason: ReasonUpstreamTimeout, blame: true},
	upstream.FailedClosed:     {reason: ReasonUpstreamClosed, blame: true},
	upstream.FailedIdle:       {reason: ReasonUpstreamClosed},
	upstream.FailedProtocol:   {reason: ReasonNoHTTP2, blame: true, detail: " "},
	upstream.FailedRefused:    {reason: ReasonUpstreamRefused, detail: " "},
	upstream.FailedIdentity:   {reason: ReasonNoIdentity, final: true},
	upstream.FailedDenied:     {reason: ReasonConnectDenied, blame: true, detail: "the instance's sidecar does not let serai in: "},
	upstream.FailedUpgrade:    {reason: ReasonNoUpgrade, final: true, detail: " "},
}

// explain turns a transport's failure into a failure for the client.
func (x *Exchange) explain(failed *upstream.Failure) *failure {
	m := meanings[failed.Kind]
	f := m.reason.failure(m.detail)
	f.processed, f.final, f.blame = failed.Processing, m.final, m.blame
	if strings.HasSuffix(m.detail, " ") {
		f.detail = strings.TrimPrefix(m.detail, " ") + cause(failed.Err)
	}
	switch failed.Kind {
	case upstream.FailedBody:
		explainBody(f, failed.Err)
	case upstream.FailedCaller:
		f.detail = errClientGone.Error()
	case upstream.FailedIdle:
		f.idle = true
	case upstream.FailedClosed:
		f.blame = !x.upload.keptWaiting()
		if errors.Is(failed.Err, upstream.ErrReset) { // not the connection
			f.detail = failed.Err.Error()
		}
	case upstream.FailedSwitch:
		// What is asked for is the client's to choose: some servers look at its key alone, and
		// a client could have their instances ejected.
		f.blame = len(x.request.Upgrade) == 0
	case upstream.FailedHandshake:
		// Within a wildcard the client chose the name: the instance is not to blame.
		var tls *upstream.HandshakeError
		if errors.As(failed.Err, &tls) && tls.OfName && strings.HasPrefix(x.Route.Host, "*") {
			f.blame = false
		}
	}
	return f
}

// cause describes a transport's error in words that clients may see.
func cause(err error) string {
	var tls *upstream.HandshakeError
	var field *wire.FieldError
	var refused *wire.Error
	var denied *upstream.DeniedError
	var other *upstream.OtherProtocolError
	switch {
	case errors.As(err, &other):
		return cause(other.Err) + "; " + other.Advice()
	case errors.As(err, &denied):
		return denied.Why
	case errors.As(err, &tls):
		return tls.Cause
	case errors.As(err, &field):
		return field.Err.Code + " in " + field.Where()
	case errors.As(err, &refused):
		return refused.Code
	}
	return err.Error()
}

// explainBody sets the answer after the request's body has failed.
func explainBody(f *failure, err error) {
	var refused *wire.Error
	switch {
	case errors.As(err, &refused) && refused != wire.ErrBodyCut:
		f.status, f.reason, f.detail = refused.Status, refused.Code, refused.Detail
	case err == errPanicked:
		f.reason, f.detail = ReasonPanic.Code(), err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		timeout := ReasonBodyTimeout.failure("")
		f.status, f.reason, f.detail = timeout.status, timeout.reason, timeout.detail
	default:
		f.detail = errClientGone.Error()
	}
}
