package nomad

import (
	"errors"
	"strings"

	"serai/internal/agentapi"
)

// Kinds of errors, for errors.Is. An *Error is at most one of them.
var (
	// ErrUnreachable: no complete answer came, or none in time.
	ErrUnreachable = errors.New("nomad agent unreachable")
	// ErrTokenRefused: the token is missing, unknown or expired (401, or 403
	// with a word about the token).
	ErrTokenRefused = errors.New("token refused")
	// ErrForbidden: the token is known, or none is necessary, but a capability is
	// missing. It also stands for an empty list of `*` at index 0, which is how an
	// agent refuses that list.
	ErrForbidden = errors.New("permission denied")
	// ErrNotFound: an agent said that a variable or job does not exist. A 404 from
	// anything else is ErrBadAnswer.
	ErrNotFound = errors.New("not found")
	// ErrUnaskable: the API has no path for a service of that name; nothing was sent.
	ErrUnaskable = errors.New("no request can ask for a service of that name")
	// ErrConflict: a check-and-set or a lock met a newer version or another
	// holder.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the agent answered that it cannot (429, 5xx), for
	// instance while the servers have no leader.
	ErrUnavailable = errors.New("nomad unavailable")
	// ErrBadAnswer: the answer is not an agent's: a redirect, a web page, truncated or
	// wrongly typed JSON, too many bytes.
	ErrBadAnswer = errors.New("bad answer")
	// ErrTooLong: the answer is longer than Limits.Answer. It is an ErrBadAnswer, too.
	ErrTooLong = errors.New("the answer is longer than is read")
	// ErrStreamRefused: the stream was answered 200 and then ended without a
	// heartbeat, which is how an agent refuses a subscription.
	ErrStreamRefused = errors.New("event stream refused")
	// ErrStreamSilent: no heartbeat where one was due, at the start or later.
	ErrStreamSilent = errors.New("event stream silent")
	// ErrStreamEnded: the agent ended a working stream: the client was too slow, the
	// token or a policy changed, or the agent stopped.
	ErrStreamEnded = errors.New("event stream ended")
)

// Error is a failed request: what was tried, what came back, what is to blame and what
// to do. It never contains a token.
type Error = agentapi.Error

// kindOf classifies an answer with an error status.
func kindOf(status int, body string) (advice string, kind error) {
	switch {
	case status == 401:
		return "no token was sent or it was not understood: give the task an identity without a name and filepath, with env = true or file = true, or set NOMAD_TOKEN_FILE or NOMAD_TOKEN", ErrTokenRefused
	case status == 403 && mentionsToken(body):
		return "the token is unknown or expired: renew NOMAD_TOKEN, or use a workload identity, which renews itself", ErrTokenRefused
	case status == 403:
		return "the token lacks a capability for this: add it to the policy of serai's job, or the token is unknown", ErrForbidden
	case status == 409:
		return "", ErrConflict
	case status == 429:
		return "the agent limits requests: raise limits.http_max_conns_per_client or wait", ErrUnavailable
	case strings.Contains(body, "No cluster leader"), strings.Contains(body, "Not ready to serve consistent reads"):
		return adviceNoLeader, ErrUnavailable
	case strings.Contains(body, "No path to region"):
		return "NOMAD_REGION names a region that these servers do not know", ErrUnavailable
	case status >= 500:
		return "the agent's log says why", ErrUnavailable
	case status < 300:
		return adviceStranger, ErrBadAnswer
	case status < 400:
		return "the address leads to something that redirects: NOMAD_ADDR must be the agent's own address and scheme", ErrBadAnswer
	case status == 404 && (strings.Contains(body, "variable not found") || strings.Contains(body, "job not found")):
		return "", ErrNotFound
	case status == 404:
		return adviceStranger, ErrBadAnswer
	case status == 400 && strings.Contains(body, "HTTP request to an HTTPS server"):
		return adviceHTTPS, ErrBadAnswer
	}
	return "", nil
}

func mentionsToken(body string) bool {
	return strings.Contains(body, "ACL token not found") ||
		strings.Contains(body, "ACL token expired") ||
		strings.Contains(body, "ACL token is invalid")
}

// kindOfFailure says what a failure without a complete answer is, if the cause shows more
// than that nobody answered. Otherwise the kind is nil.
func kindOfFailure(err error) (advice string, kind error) {
	switch agentapi.FailureOf(err) {
	case agentapi.UnknownAuthority:
		return "its certificate is of an authority that is not trusted here: NOMAD_CACERT must name the file of its CA", ErrUnreachable
	case agentapi.WrongName:
		return "its certificate is for another name: set NOMAD_TLS_SERVER_NAME to one that it has (often server.REGION.nomad or client.REGION.nomad)", ErrUnreachable
	case agentapi.InvalidCertificate:
		return "renew the agent's certificate, or set this machine's clock", ErrUnreachable
	case agentapi.CertificateRefused:
		return "the agent refuses our certificate: NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY must name one that its CA signed", ErrUnreachable
	case agentapi.SpeaksHTTP:
		return "the agent does not speak TLS: write http:// in NOMAD_ADDR", ErrUnreachable
	case agentapi.NoTLS:
		return "what listens there does not speak TLS: " + adviceStranger, ErrBadAnswer
	case agentapi.Unresolved:
		return "the host of NOMAD_ADDR does not resolve: is it spelt right?", ErrUnreachable
	case agentapi.SpeaksTLS:
		return adviceHTTPS, ErrBadAnswer
	case agentapi.NoHTTP:
		return adviceStranger, ErrBadAnswer
	}
	return "", nil
}

// Advice of more than one error.
const (
	adviceNoLeader = "the servers are electing a leader: it passes, or a majority of them is down"
	adviceStranger = "no Nomad agent would answer that: check NOMAD_ADDR"
	adviceHTTPS    = "the agent speaks TLS: write https:// in NOMAD_ADDR"
)

func excerpt(b []byte, token string) string { return agentapi.Excerpt(b, token) }
