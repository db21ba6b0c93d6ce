package consul

import (
	"errors"
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
type Error = agentapi.Error

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

// kindOfFailure says what a failure without a complete answer is. The advice may be empty.
func kindOfFailure(err error) (advice string, kind error) {
	switch agentapi.FailureOf(err) {
	case agentapi.CutShort:
		return "the answer was cut short: if that stays so, the address leads to a proxy that cuts it, or to no agent", ErrBadAnswer
	case agentapi.UnknownAuthority:
		return "its certificate is of an authority that is not trusted here: CONSUL_CACERT must name the file of its CA", ErrUnreachable
	case agentapi.WrongName:
		return "its certificate is for another name: set CONSUL_TLS_SERVER_NAME to one that it has (often server.DATACENTER.consul or localhost)", ErrUnreachable
	case agentapi.InvalidCertificate:
		return "renew the agent's certificate, or set this machine's clock", ErrUnreachable
	case agentapi.CertificateRefused:
		return "the agent refuses our certificate: CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must name one that its CA signed", ErrUnreachable
	case agentapi.SpeaksHTTP:
		return "the agent does not speak TLS: write http:// in --consul", ErrUnreachable
	case agentapi.NoTLS:
		return "what listens there does not speak TLS: " + adviceStranger, ErrBadAnswer
	case agentapi.Unresolved:
		return "the host of the agent's address does not resolve: is it spelt right?", ErrUnreachable
	case agentapi.SpeaksTLS:
		return adviceHTTPS, ErrBadAnswer
	case agentapi.NoHTTP:
		return adviceStranger, ErrBadAnswer
	}
	return "", ErrUnreachable
}
