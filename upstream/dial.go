package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"serai/proxy/wire"
)

// Dialer makes connections to endpoints.
type Dialer struct {
	// Timeout bounds connect and TLS handshake, each.
	Timeout time.Duration
	// WriteIdle is how long an instance may take nothing of what is sent, before
	// the connection ends; 0 leaves it to the system.
	WriteIdle time.Duration
	// Roots verifies https instances; nil means the system's roots.
	Roots *x509.CertPool
}

// Dial connects to the endpoint on behalf of a client, whose address is told
// by the PROXY protocol where the target asks for it. ServerName is verified
// over TLS when the target names none.
func (e *Endpoint) Dial(ctx context.Context, client netip.AddrPort, serverName string) (*Conn, error) {
	c, err := e.dialer.dial(ctx, &e.target, client, serverName)
	if err != nil {
		return nil, err
	}
	return newConn(c, e), nil
}

func (d *Dialer) dial(ctx context.Context, t *Target, client netip.AddrPort, serverName string) (net.Conn, error) {
	c, err := d.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(d.Timeout))
	if t.ProxyProtocol != 0 {
		if err := writeProxyHeader(c, t.ProxyProtocol, client); err != nil {
			c.Close()
			return nil, fmt.Errorf("send PROXY header to instance %s: %w", t.Address, err)
		}
	}
	if t.Scheme == HTTPS {
		name := t.TLSName
		if name == "" {
			name = serverName
		}
		tc := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: t.TLSInsecure, RootCAs: d.Roots, NextProtos: []string{"http/1.1"}})
		if err := tc.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, fmt.Errorf("TLS handshake with instance %s as %q: %w; give the name with tls-name, or trust any certificate with tls-verify=false", t.Address, name, err)
		}
		c = tc
	}
	c.SetDeadline(time.Time{})
	return c, nil
}

// connect makes the TCP connection alone.
func (d *Dialer) connect(ctx context.Context, t *Target) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.Timeout}
	if d.WriteIdle > 0 {
		nd.Control = func(_, _ string, c syscall.RawConn) error { return wire.GiveUpAfter(c, d.WriteIdle) }
	}
	c, err := nd.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return c, nil
}

// ErrConnect says that an instance's address could not be connected to, as
// opposed to what may go wrong on the connection.
var ErrConnect = errors.New("connect to instance")

// writeProxyHeader tells the instance who the client is; a probe of our own
// has none and says LOCAL (v2) or UNKNOWN (v1).
func writeProxyHeader(c net.Conn, version uint8, client netip.AddrPort) error {
	h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if client.IsValid() {
		h = proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), c.RemoteAddr())
	}
	_, err := h.WriteTo(c)
	return err
}

// localFailure reports whether err says nothing about whether the instance can
// be reached: it is about this machine, or about TLS.
func localFailure(err error) bool {
	return !errors.Is(err, ErrConnect) ||
		errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, context.Canceled)
}
