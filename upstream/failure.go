package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrConnect says that connecting to an instance's address failed, as opposed to
// failures on the connection.
var ErrConnect = errors.New("connect to instance")

// ErrNoDescriptor says that no connection can be made: the open connections to
// instances use up their share of the process's file descriptors.
var ErrNoDescriptor = errors.New("no file descriptor is left for a connection to an instance")

// ErrReset says that an instance reset the stream of a request, and left the connection as
// it is.
var ErrReset = errors.New("the instance reset the stream")

// ErrHandshake matches every HandshakeError.
var ErrHandshake = errors.New("TLS handshake with instance")

// HandshakeError says that an instance accepted a connection, but the TLS handshake
// failed.
type HandshakeError struct {
	// Address is the instance's, Name the server name that was sent and
	// verified.
	Address, Name string
	// Cause says in a few words what is wrong, for people who may not know the
	// address.
	Cause string
	// OfName says that the name may be the cause: another name might have got another
	// certificate.
	OfName bool
	// Peer is whom serai expected in Consul's mesh; zero outside of it.
	Peer Peer
	// Err is the library's error.
	Err error
}

// Error also says what to do about it.
func (e *HandshakeError) Error() string {
	instead := "give the name with tls-name or upstream-host, or trust any certificate with tls-verify=false"
	switch {
	case e.Peer != (Peer{}):
		instead = "is it the sidecar of service " + e.Peer.Service + " that listens there, and does the mesh's authority trust it?"
	case e.NoProtocol():
		instead = "give another scheme"
	case remoteAlert(e.Err) == certificateRequired:
		instead = "let the instance take requests without one, or reach it through Consul's mesh with connect=on"
	}
	return fmt.Sprintf("%v %s as %q: %s: %v; %s", ErrHandshake, e.Address, e.Name, e.Cause, e.Err, instead)
}

// NoProtocol reports whether the instance supports none of the offered protocols.
func (e *HandshakeError) NoProtocol() bool {
	return remoteAlert(e.Err) == "tls: no application protocol"
}

// certificateRequired is the text of the alert of a server that demands a certificate.
const certificateRequired = "tls: certificate required"

// remoteAlert returns the text of crypto/tls for the alert that the instance has sent,
// empty when there is none: its type is not exported.
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

// Unwrap returns ErrHandshake and the library's error.
func (e *HandshakeError) Unwrap() []error { return []error{ErrHandshake, e.Err} }

func handshakeError(t *Target, name string, err error) error {
	cause, ofName := handshakeCause(name, err)
	return &HandshakeError{Address: t.Address, Name: name, Cause: cause, OfName: ofName && t.TLSName == "", Err: err}
}

// LateAlert returns the HandshakeError for an alert in place of the first answer, and nil
// if err is none. With TLS 1.3 a server checks a client's certificate, and that there is
// one, when the client takes the handshake for complete (RFC 8446 section 4.4.2.4).
func (e *Endpoint) LateAlert(name string, err error) error {
	if remoteAlert(err) == "" {
		return nil
	}
	return handshakeError(&e.target, name, err)
}

// handshakeCause describes the failure in words, and reports whether it depends on the
// name.
func handshakeCause(name string, err error) (cause string, ofName bool) {
	var wrongName x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &wrongName):
		return "its certificate is not for " + name, true
	case errors.As(err, &authority):
		return "its certificate is of an unknown authority", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet", true
	case errors.As(err, &invalid):
		return "its certificate is not valid", true
	case remoteAlert(err) == "tls: no application protocol":
		return "it does not offer the protocol that the scheme asks for (ALPN)", false
	case remoteAlert(err) == certificateRequired:
		return "it demands a client certificate, and serai has none for it", false
	case remoteAlert(err) != "":
		return "it refused the handshake", true
	case errors.As(err, &record):
		return "it does not speak TLS", false
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it did not answer the handshake in time", false
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection in the handshake", false
	}
	return "the handshake failed", true
}

// localFailure reports whether err says nothing about the reachability of the instance:
// it is about this machine, or about TLS.
func localFailure(err error) bool {
	return !errors.Is(err, ErrConnect) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, context.Canceled)
}

// noDescriptor reports whether the process or the machine has no descriptor left.
func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
