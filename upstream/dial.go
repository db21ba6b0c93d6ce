package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"serai/internal/quota"
	"serai/wire/socket"
)

// Dialer makes connections to endpoints.
type Dialer struct {
	// Timeout bounds connect and TLS handshake together.
	Timeout time.Duration
	// WriteIdle is how long an instance may accept nothing before the connection is
	// closed; 0 leaves it to the system. It does not apply to HTTP/2, where requests
	// share a connection and have time limits of their own: a request that a busy
	// instance reads late must not end all others.
	WriteIdle time.Duration
	// Roots verify https instances; nil means the system's roots.
	Roots *x509.CertPool
	// Mesh is serai's place in Consul's mesh; nil where there is none.
	Mesh Mesh
	// MaxConns bounds the connections to all instances together, of which an eighth is
	// only for probes; 0 means no limit.
	MaxConns int
	// MakeRoom closes idle connections, and reports whether there were any; nil when
	// there are none.
	MakeRoom func() bool
	// MakeRoomBeyond is the same for those beyond their share.
	MakeRoomBeyond func() bool

	conns   quota.Quota
	shares  *connShares   // of MaxConns; nil without
	refused atomic.Uint64 // for lack of a descriptor
}

// purpose is what a connection is for; the zero purpose is a request of nobody.
type purpose struct {
	probe bool
	// job and client are for whose shares a connection for a request counts.
	job    *connJob
	client netip.Addr
	// connect bounds the TCP connect, if it is less than the Timeout.
	connect time.Duration
}

// Dial connects to the endpoint for a request for host, on behalf of a client, whose
// address is sent with the PROXY protocol if the target wants it, and for whom the
// connection counts. Without an address it counts for no client. With TLS, host is the
// name that is sent and verified if the target has none. Protocols are those that TLS
// may select (RFC 7301). The context's deadline and the registry's ConnectTimeout bound
// the whole. It returns the TLS name that the connection was opened for, empty without
// TLS.
//
// It fails with ErrNoDescriptor, ErrConnect, ErrNoIdentity, or a HandshakeError or
// DeniedError: in each case no byte of the request has left.
func (e *Endpoint) Dial(ctx context.Context, client netip.AddrPort, host string, protocols []string) (c net.Conn, name string, err error) {
	began, from := time.Now(), e.phase()
	name = e.target.serverName(host)
	c, err = e.dialer.dial(ctx, &e.target, client, name, protocols, purpose{job: e.conns, client: client.Addr()})
	if err != nil {
		e.dialFailed(from, err, time.Since(began))
		return nil, name, err
	}
	if e.problem.Load() != nil {
		e.problem.Store(nil)
	}
	return c, name, nil
}

// DialCheck is Dial for a check, without a client. The connection counts as a probe,
// and the check reports its failure. Within bounds the TCP connect.
func (e *Endpoint) DialCheck(ctx context.Context, host string, protocols []string, within time.Duration) (net.Conn, error) {
	return e.dialer.dial(ctx, &e.target, netip.AddrPort{}, e.target.serverName(host), protocols, purpose{probe: true, connect: within})
}

// Unusable records that a connection was made, but the instance does not speak the
// protocol of its Target on it. No probe is requested, because the instance was
// reached.
func (e *Endpoint) Unusable(err error) {
	e.failures.Add(1)
	problem := err.Error()
	e.problem.Store(&problem)
	e.warn(err)
}

// Ended logs why a connection has ended that carried that many requests.
func (e *Endpoint) Ended(err error, requests int) {
	e.registry.options.Logger.Debug("a connection to an instance ended with requests under way", "address", e.target.Address,
		"alloc", e.target.Instance, "requests", requests, "error", err)
}

// dialFailed records that a connect failed, and how long it took.
func (e *Endpoint) dialFailed(from phase, err error, took time.Duration) {
	e.failures.Add(1)
	problem := err.Error()
	e.problem.Store(&problem)
	if errors.Is(err, ErrHandshake) {
		e.warn(err)
	}
	switch {
	case localFailure(err):
	case errors.Is(err, context.DeadlineExceeded) && took < e.dialer.Timeout:
		// The request had little time left, so this proves nothing: let the prober test it.
		e.suspected.Store(true)
		e.registry.prober.ask(e, false)
	default:
		e.lost(from, err)
	}
}

// warn logs a failed handshake now and then: clients may cause thousands of them.
func (e *Endpoint) warn(err error) {
	const pause = time.Minute
	if e.warned.Again(time.Now(), pause) {
		e.registry.options.Logger.Warn("connection to an instance failed", "address", e.target.Address, "alloc", e.target.Instance, "error", err)
	}
}

func (d *Dialer) dial(ctx context.Context, t *Target, client netip.AddrPort, serverName string, protocols []string, why purpose) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	var mesh *tls.Config
	if t.Peer != (Peer{}) {
		var err error
		if mesh, err = d.meshConfig(t, protocols); err != nil {
			return nil, err
		}
	}
	tcp, err := d.connect(ctx, t, why)
	if err != nil {
		return nil, err
	}
	ready := false
	defer func() {
		if !ready { // closing it also counts it out
			tcp.Close()
		}
	}()
	c := tcp
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if mesh != nil {
		tc := socket.TLSClient(c, mesh)
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, d.meshError(t, mesh.ServerName, err)
		}
		c = tc
	}
	if t.ProxyProtocol != 0 {
		if err := writeProxyHeader(c, t.ProxyProtocol, client); err != nil {
			return nil, fmt.Errorf("%w %s: send PROXY header: %w", ErrConnect, t.Address, err)
		}
	}
	if t.Scheme.Secure() {
		tc := socket.TLSClient(c, &tls.Config{ServerName: serverName, InsecureSkipVerify: t.TLSInsecure, RootCAs: d.Roots, NextProtos: protocols})
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, handshakeError(t, serverName, err)
		}
		c = tc
	}
	c.SetDeadline(time.Time{})
	ready = true
	return c, nil
}

// connect makes only the TCP connection.
func (d *Dialer) connect(ctx context.Context, t *Target, why purpose) (net.Conn, error) {
	holder, ok := d.take(why)
	if !ok {
		d.refused.Add(1)
		return nil, ErrNoDescriptor
	}
	nd := net.Dialer{Timeout: why.connect}
	if d.WriteIdle > 0 && !t.Scheme.HTTP2() {
		nd.Control = func(_, _ string, c syscall.RawConn) error { return socket.GiveUpAfter(c, d.WriteIdle) }
	}
	c, err := nd.DialContext(ctx, "tcp", t.Address)
	if noDescriptor(err) && d.makeRoom() {
		c, err = nd.DialContext(ctx, "tcp", t.Address)
	}
	if err != nil {
		d.give(holder)
		if noDescriptor(err) {
			d.refused.Add(1)
			return nil, fmt.Errorf("%w: %w", ErrNoDescriptor, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return &countedConn{TCPConn: c.(*net.TCPConn), dialer: d, holder: holder}, nil
}

// take counts a new connection, and makes room for it if necessary.
func (d *Dialer) take(why purpose) (h connHolder, ok bool) {
	if d.MaxConns == 0 {
		d.conns.Add(1)
		return h, true
	}
	h, ok, beyond := d.tryTake(why)
	if ok {
		return h, true
	}
	room := d.MakeRoom
	if beyond {
		room = d.MakeRoomBeyond
	}
	if room != nil && room() {
		h, ok, _ = d.tryTake(why)
	}
	return h, ok
}

// tryTake counts a new connection if there is room for it. Beyond says that it is for one
// that is beyond its share.
func (d *Dialer) tryTake(why purpose) (h connHolder, ok, beyond bool) {
	h = d.shares.count(why.job, why.client)
	limit := int64(d.MaxConns)
	if !why.probe {
		limit = forRequests(d.MaxConns)
	}
	if why.job != nil {
		limit, beyond = d.shares.limit(h)
	}
	if ok = d.conns.Take(1, limit); !ok {
		d.shares.give(h)
	}
	return h, ok, beyond
}

// give counts a connection out.
func (d *Dialer) give(h connHolder) {
	d.shares.give(h)
	d.conns.Give(1)
}

// forRequests is the part of all connections that requests may use. The rest is only for
// probes.
func forRequests(all int) int64 { return int64(all - all/8) }

// ConnectionsToSpare reports whether less than half of the permitted connections to all
// instances are open.
func (e *Endpoint) ConnectionsToSpare() bool { return e.dialer.lightlyLoaded() }

// lightlyLoaded reports whether less than half of the permitted connections are open.
func (d *Dialer) lightlyLoaded() bool {
	return d.MaxConns == 0 || d.conns.Taken() < int64(d.MaxConns)/2
}

func (d *Dialer) makeRoom() bool { return d.MakeRoom != nil && d.MakeRoom() }

// countedConn is a connection that counts until it is closed.
type countedConn struct {
	*net.TCPConn
	dialer *Dialer
	holder connHolder
	given  atomic.Bool
}

// Close closes the connection. It may be called several times.
func (c *countedConn) Close() error {
	err := c.TCPConn.Close()
	if c.given.CompareAndSwap(false, true) {
		c.dialer.give(c.holder)
	}
	return err
}

// writeProxyHeader sends the client's address to the instance. A probe has none and
// sends LOCAL (v2) or UNKNOWN (v1).
func writeProxyHeader(c net.Conn, version uint8, client netip.AddrPort) error {
	h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if client.IsValid() {
		h = proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), c.RemoteAddr())
	}
	_, err := h.WriteTo(c)
	return err
}
