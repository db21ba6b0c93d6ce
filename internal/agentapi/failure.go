package agentapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
)

// Failure is why a request has no complete answer, as far as its error shows.
type Failure int

const (
	// NoAnswer is any other reason: nobody answers, or the connection broke.
	NoAnswer Failure = iota
	// CutShort: the answer ended in the middle.
	CutShort
	// UnknownAuthority, WrongName, InvalidCertificate: the agent's certificate is of an
	// authority that is not trusted, for another name, or expired or not valid yet.
	UnknownAuthority
	WrongName
	InvalidCertificate
	// CertificateRefused: the agent refuses the client's certificate.
	CertificateRefused
	// SpeaksHTTP: https was asked for where http is spoken, SpeaksTLS the reverse.
	SpeaksHTTP
	SpeaksTLS
	// NoTLS: https was asked for where neither TLS nor HTTP is spoken.
	NoTLS
	// Unresolved: the host has no address.
	Unresolved
	// NoHTTP: what answers does not speak HTTP, or has a head that is too large.
	NoHTTP
)

// FailureOf classifies the error of a request without a complete answer.
func FailureOf(err error) Failure {
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
		return CutShort
	case errors.As(err, &authority):
		return UnknownAuthority
	case errors.As(err, &hostname):
		return WrongName
	case errors.As(err, &invalid):
		return InvalidCertificate
	case strings.Contains(text, "remote error: tls:"):
		return CertificateRefused
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return SpeaksHTTP
	case errors.As(err, &record):
		return NoTLS
	case errors.As(err, &dns):
		return Unresolved
	case strings.Contains(text, `malformed HTTP response "\x15\x03`):
		return SpeaksTLS
	case strings.Contains(text, "malformed"), strings.Contains(text, "transport connection broken"), strings.Contains(text, "server response headers exceeded"):
		return NoHTTP
	}
	return NoAnswer
}
