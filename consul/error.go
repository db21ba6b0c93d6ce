package consul

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"serai/internal/agentapi"
)

// Kinds of errors, for errors.Is. An *Error is at most one of them.
var (
	// ErrUnreachable: no complete answer came, or none in time.
	ErrUnreachable = errors.New("consul agent unreachable")
	// ErrTokenRefused: the token is unknown or expired.
	ErrTokenRefused = errors.New("token refused")
	// ErrForbidden: the token is known, or none is necessary, but a right is missing.
	ErrForbidden = errors.New("permission denied")
	// ErrUnavailable: the agent answered that it cannot (429, 5xx), for instance while the
	// servers have no leader.
	ErrUnavailable = errors.New("consul unavailable")
	// ErrBadAnswer: the answer is not an agent's: a redirect, a web page, truncated or
	// wrongly typed JSON, too many bytes.
	ErrBadAnswer = errors.New("bad answer")
	// ErrTooLong: the answer is longer than Limits.Answer. It is an ErrBadAnswer, too.
	ErrTooLong = errors.New("the answer is longer than is read")
)

// Error is a failed request: what was tried, what came back, what is to blame and what to
// do. It never contains a token.
type Error struct {
	// Op is what the request does: `read service "web"`.
	Op string
	// Path is the one sent, without the query.
	Path string
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

// maxCause is how many bytes an error shows of its cause.
const maxCause = 500

// Error is one sentence: the request, what happened, what to do.
func (e *Error) Error() string {
	var parts []string
	switch {
	case e.Status != 0 && (e.Status < 200 || e.Status > 299):
		said := fmt.Sprintf("%s answered %d", e.Path, e.Status)
		if e.Body != "" {
			said += fmt.Sprintf(" %q", e.Body)
		}
		parts = append(parts, said)
	case e.Kind != nil:
		if !errors.Is(e.Err, e.Kind) { // which then says so
			parts = append(parts, e.Kind.Error())
		}
		if e.Status != 0 && e.Body != "" {
			parts = append(parts, fmt.Sprintf("%s answered %q", e.Path, e.Body))
		}
	}
	token := ""
	if e.token != nil {
		token = *e.token
	}
	if e.Err != nil {
		parts = append(parts, agentapi.Shorten(agentapi.Redact(e.Err.Error(), token), maxCause))
	}
	text := e.Op + ": " + strings.Join(parts, ": ")
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	// Text from an agent can be in any part of this.
	return agentapi.Redact(text, token)
}

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Advice of more than one error.
const (
	adviceNoLeader = "the servers are electing a leader: it passes, or a majority of them is down"
	adviceStranger = "no Consul agent would answer that: check --consul and CONSUL_HTTP_ADDR"
	adviceHTTPS    = "the agent speaks TLS: write https:// in --consul, or set CONSUL_HTTP_SSL=true"
)

// kindOf classifies an answer with an error status.
func kindOf(status int, body string) (advice string, kind error) {
	switch {
	case status == 401 || status == 403 && (strings.Contains(body, "ACL not found") || strings.Contains(body, "token does not exist")):
		return "the token is unknown or expired: renew CONSUL_HTTP_TOKEN, or the file of CONSUL_HTTP_TOKEN_FILE, which is read again for each request", ErrTokenRefused
	case status == 403:
		return `give the token service_prefix "" { policy = "read" } and node_prefix "" { policy = "read" }`, ErrForbidden
	case status == 429:
		return "the agent limits connections: raise limits.http_max_conns_per_client, or lower --consul-watches", ErrUnavailable
	case strings.Contains(body, "No cluster leader"), strings.Contains(body, "No known Consul servers"), strings.Contains(body, "Raft leader not found"):
		return adviceNoLeader, ErrUnavailable
	case strings.Contains(body, "No path to datacenter"):
		return "no such datacenter is known to the agent: check --consul-datacenter", ErrUnavailable
	case status >= 500:
		return "the agent's log says why", ErrUnavailable
	case status >= 300 && status < 400:
		return "the address leads to something that redirects: it must be the agent's own address and scheme", ErrBadAnswer
	case status == 400 && strings.Contains(body, "HTTP request to an HTTPS server"):
		return adviceHTTPS, ErrBadAnswer
	}
	return adviceStranger, ErrBadAnswer
}

// kindOfFailure classifies a failure without a complete answer. The advice may be empty.
func kindOfFailure(err error) (advice string, kind error) {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
	)
	text := err.Error() // net/http has no types for some
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the answer was cut short: if that stays so, the address leads to a proxy that cuts it, or to no agent", ErrBadAnswer
	case errors.As(err, &authority):
		return "its certificate is of an authority that is not trusted here: CONSUL_CACERT must name the file of its CA", ErrUnreachable
	case errors.As(err, &hostname):
		return "its certificate is for another name: set CONSUL_TLS_SERVER_NAME to one that it has (often server.DATACENTER.consul or localhost)", ErrUnreachable
	case errors.As(err, &invalid):
		return "renew the agent's certificate, or set this machine's clock", ErrUnreachable
	case strings.Contains(text, "remote error: tls:"):
		return "the agent refuses our certificate: CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must name one that its CA signed", ErrUnreachable
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the agent does not speak TLS: write http:// in --consul", ErrUnreachable
	case errors.As(err, &record):
		return "what listens there does not speak TLS: " + adviceStranger, ErrBadAnswer
	case errors.As(err, &dns):
		return "the host of the agent's address does not resolve: is it spelt right?", ErrUnreachable
	case strings.Contains(text, `malformed HTTP response "\x15\x03`):
		return adviceHTTPS, ErrBadAnswer
	case strings.Contains(text, "malformed"), strings.Contains(text, "transport connection broken"), strings.Contains(text, "server response headers exceeded"):
		return adviceStranger, ErrBadAnswer
	}
	return "", ErrUnreachable
}
