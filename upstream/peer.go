package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Peer is the identity of an instance in Consul's mesh: the service and the datacenter in
// its certificate. Connections to it are mutual TLS, and nothing is ever sent over any other.
// The zero Peer is outside of the mesh.
type Peer struct{ Service, Datacenter string }

// Mesh is serai's own place in Consul's mesh. Its methods may be called concurrently and do
// not wait.
type Mesh interface {
	// Config is what a connection to a peer is opened with: serai's own certificate, and the
	// check of the peer's. It fails with an error that is ErrNoIdentity while there is none.
	Config(to Peer) (*tls.Config, error)
	// Denies returns why Consul says that a peer denies serai, which has closed a new
	// connection without an answer, or refused serai's certificate; empty when it does not
	// say so, or has not been asked yet. Then it is.
	Denies(to Peer) (why string)
}

// ErrNoIdentity says that serai has no valid certificate of Consul's mesh, or does not know
// whom to trust there: nothing is sent.
var ErrNoIdentity = errors.New("no identity in Consul's mesh")

// ErrDenied matches every DeniedError.
var ErrDenied = errors.New("refused by a sidecar")

// DeniedError says that a peer in Consul's mesh does not let serai in.
type DeniedError struct {
	Peer Peer
	// Why is what is known of it, in words that clients may see.
	Why string
	Err error // may be nil
}

// Error says whom it is about, and why.
func (e *DeniedError) Error() string {
	text := fmt.Sprintf("%v of service %q: %s", ErrDenied, e.Peer.Service, e.Why)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns ErrDenied and the library's error.
func (e *DeniedError) Unwrap() []error { return []error{ErrDenied, e.Err} }

// alertsAboutCertificates are the texts of crypto/tls for the alerts with which a server
// refuses the certificate of its client (RFC 8446 section 6.2). With TLS 1.3 they come when
// the client has long finished its handshake, instead of the first answer.
var alertsAboutCertificates = map[string]bool{
	"tls: bad certificate": true, "tls: unsupported certificate": true, "tls: revoked certificate": true, "tls: expired certificate": true,
	"tls: unknown certificate": true, "tls: unknown certificate authority": true, "tls: access denied": true, "tls: certificate required": true,
}

// Denied returns why the instance's side ended a new connection, on which it had sent
// nothing, when it is because a sidecar does not let serai in; nil when it is not, or not
// known to be. Unprocessed says that the instance has got nothing of what was sent: the
// sidecar has refused serai's certificate, and reads nothing before it has accepted it.
func (e *Endpoint) Denied(err error) (denied *DeniedError, unprocessed bool) {
	peer := e.target.Peer
	if peer == (Peer{}) {
		return nil, false
	}
	if errors.As(err, &denied) { // as the dialer has seen it
		return denied, true
	}
	if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return nil, false // it has not ended
	}
	// Where the instance speaks TLS itself, inside the sidecar's, the alert may be its own.
	refused := !e.target.Scheme.Secure() && alertsAboutCertificates[remoteAlert(err)]
	why := e.dialer.denies(peer)
	switch {
	case refused && why == "":
		why = whyRefused
	case why == "":
		return nil, false
	}
	denied = &DeniedError{Peer: peer, Why: why, Err: err}
	problem := denied.Error()
	e.problem.Store(&problem)
	e.warn(denied)
	return denied, refused
}

const whyRefused = "it does not accept serai's certificate: an intention denies it, or the sidecar cannot reach its agent, or trusts another authority"

// denies asks the Mesh why a peer has refused serai.
func (d *Dialer) denies(to Peer) string {
	if d.Mesh == nil {
		return ""
	}
	return d.Mesh.Denies(to)
}

// meshConfig is what a connection to t is opened with.
func (d *Dialer) meshConfig(t *Target, protocols []string) (*tls.Config, error) {
	if d.Mesh == nil {
		return nil, fmt.Errorf("%w: serai does not follow Consul", ErrNoIdentity)
	}
	c, err := d.Mesh.Config(t.Peer)
	if err != nil {
		return nil, err
	}
	// Most sidecars pass bytes on and take any protocol, or none. What speaks the mesh's TLS
	// itself may speak HTTP/2 only where TLS has selected it.
	if t.Scheme.HTTP2() && !t.Scheme.Secure() {
		c.NextProtos = protocols
	}
	return c, nil
}

// meshError is the error of a handshake in the mesh.
func (d *Dialer) meshError(t *Target, name string, err error) error {
	if alertsAboutCertificates[remoteAlert(err)] {
		why := d.denies(t.Peer)
		if why == "" {
			why = whyRefused
		}
		return &DeniedError{Peer: t.Peer, Why: why, Err: err}
	}
	cause, _ := handshakeCause(name, err)
	var stranger *StrangerError
	if errors.As(err, &stranger) {
		cause = stranger.Error()
	}
	return &HandshakeError{Address: t.Address, Name: name, Cause: cause, Peer: t.Peer, Err: err}
}

// StrangerError says that the certificate of whoever answers is not the expected one's.
type StrangerError struct {
	// Why is what is wrong with it.
	Why string
}

// Error is Why.
func (e *StrangerError) Error() string { return e.Why }

// lack is what an endpoint's last probe has lacked for reasons of Consul's mesh.
type lack uint32

const (
	lacksNothing lack = iota
	lacksIdentity
	lacksPermission
)

// lacking is what a probe has lacked that ended with err.
func lacking(err error) lack {
	switch {
	case errors.Is(err, ErrNoIdentity):
		return lacksIdentity
	case errors.Is(err, ErrDenied):
		return lacksPermission
	}
	return lacksNothing
}

// NoIdentity reports whether an instance of the current pool gets no requests because serai
// has no certificate of Consul's mesh yet.
func (r *Room) NoIdentity() bool { return r.anyLacks(lacksIdentity) }

// Refused reports whether an instance of the current pool gets no requests because its
// sidecar does not accept serai.
func (r *Room) Refused() bool { return r.anyLacks(lacksPermission) }

func (r *Room) anyLacks(l lack) bool {
	p := r.pool.Load()
	if p == nil {
		return false
	}
	for _, m := range p.members {
		if m.Weight > 0 && m.Endpoint.State() == Probing && lack(m.Endpoint.lacks.Load()) == l {
			return true
		}
	}
	return false
}

// probePeer makes a connection in Consul's mesh, handshake included. Not every sidecar tells
// then whether it lets serai in.
func (r *Registry) probePeer(ctx context.Context, e *Endpoint, within time.Duration) error {
	t := e.target
	t.Scheme, t.ProxyProtocol = HTTP, 0 // what is spoken within is not probed
	c, err := r.dialer.dial(ctx, &t, netip.AddrPort{}, "", nil, purpose{probe: true, connect: within})
	if err != nil {
		return err
	}
	return c.Close()
}
