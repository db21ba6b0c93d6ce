package nomad

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
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
type Error struct {
	// Op is what the request does: `list services in namespace "shop"`.
	Op string
	// Method and Path are the ones sent, without the query.
	Method, Path string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Body is the beginning of the answer, made printable.
	Body string
	// Kind is one of the Err variables of this package. It is nil when the caller's
	// context ended, and for other statuses.
	Kind error
	// Err is the cause below, if any: a context's error, a dial error.
	Err error
	// Advice says what to do about it.
	Advice string

	token *string // that was sent; nil or empty for none
}

// Error is one sentence: the request, what happened, what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	switch {
	case e.Status != 0 && (e.Status < 200 || e.Status > 299):
		fmt.Fprintf(&b, "%s %s answered %d", e.Method, e.Path, e.Status)
		if e.Body != "" {
			fmt.Fprintf(&b, " %q", e.Body)
		}
	case e.Kind != nil:
		if !errors.Is(e.Err, e.Kind) { // which then says so
			b.WriteString(e.Kind.Error())
		}
		if e.Status != 0 && e.Body != "" {
			fmt.Fprintf(&b, ": %s %s answered %q", e.Method, e.Path, e.Body)
		}
	}
	if e.Err != nil {
		if !strings.HasSuffix(b.String(), ": ") {
			b.WriteString(": ")
		}
		b.WriteString(agentapi.Shorten(redact(e.Err.Error(), e.token), maxCause))
	}
	if e.Advice != "" {
		b.WriteString("; ")
		b.WriteString(e.Advice)
	}
	// Text from an agent can be in any part of this.
	return redact(b.String(), e.token)
}

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// kindOf classifies an answer with an error status.
func kindOf(status int, body string) (advice string, kind error) {
	switch {
	case status == 401:
		return "no token was sent or it was not understood: give the task an identity with env = true or file = true, or set NOMAD_TOKEN", ErrTokenRefused
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

// kindOfFailure classifies a failure without a complete answer, if the cause shows more
// than that nobody answered. Otherwise the kind is nil.
func kindOfFailure(err error) (advice string, kind error) {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
	)
	// net/http has no types for these.
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		return "its certificate is of an authority that is not trusted here: NOMAD_CACERT must name the file of its CA", ErrUnreachable
	case errors.As(err, &hostname):
		return "its certificate is for another name: set NOMAD_TLS_SERVER_NAME to one that it has (often server.REGION.nomad or client.REGION.nomad)", ErrUnreachable
	case errors.As(err, &invalid):
		return "renew the agent's certificate, or set this machine's clock", ErrUnreachable
	case strings.Contains(text, "remote error: tls:"):
		return "the agent refuses our certificate: NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY must name one that its CA signed", ErrUnreachable
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the agent does not speak TLS: write http:// in NOMAD_ADDR", ErrUnreachable
	case errors.As(err, &record):
		return "what listens there does not speak TLS: " + adviceStranger, ErrBadAnswer
	case errors.As(err, &dns):
		return "the host of NOMAD_ADDR does not resolve: is it spelt right?", ErrUnreachable
	case strings.Contains(text, `malformed HTTP response "\x15\x03`):
		return adviceHTTPS, ErrBadAnswer
	case strings.Contains(text, "malformed"), strings.Contains(text, "transport connection broken"),
		strings.Contains(text, "server response headers exceeded"):
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

// maxCause is how many bytes an error shows of a cause, which may quote an answer.
const maxCause = 500

func excerpt(b []byte, token string) string { return agentapi.Excerpt(b, token) }

func redact(s string, token *string) string {
	if token == nil {
		return s
	}
	return agentapi.Redact(s, *token)
}
