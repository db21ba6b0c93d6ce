package http2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// dialing is a connection that is being made. As many requests wait for it as it will
// have streams, so that many requests at once make as many connections as they need,
// and no more.
type dialing struct {
	host    string // empty without TLS, or if all requests use one name
	client  netip.AddrPort
	waiting int
	done    chan struct{} // closed when it is made or has failed
	failure *upstream.Failure
}

// connect makes a connection, with a stream reserved, and says so. Or it finds one, or it
// waits for one that is being made and returns nothing; then the caller looks for it.
func (t *Transport) connect(r *upstream.Request, client netip.AddrPort, began time.Time) (c *conn, made bool, failed *upstream.Failure) {
	left := r.Connect - time.Since(began)
	if left <= 0 {
		return nil, false, &upstream.Failure{Kind: upstream.FailedConnect, Processing: upstream.NotSent, Err: fmt.Errorf("%w: %w", upstream.ErrConnect, context.DeadlineExceeded)}
	}
	if r.Check {
		c, failed = t.dial(r, client, left)
		return c, true, failed
	}
	t.mu.Lock()
	// A connection may have been made since the caller looked for one.
	if c := t.find(time.Now(), r, client); c != nil {
		t.mu.Unlock()
		return c, false, nil
	}
	for _, d := range t.dialing {
		if d.waiting < t.allowed && d.client == client && t.same(d.host, r.Host) {
			d.waiting++
			t.mu.Unlock()
			return nil, false, d.wait(left)
		}
	}
	d := &dialing{client: client, waiting: 1, done: make(chan struct{})}
	if t.scheme.Secure() && !t.named {
		d.host = string(r.Host)
	}
	t.dialing = append(t.dialing, d)
	t.mu.Unlock()
	defer func() { t.dialed(d, c) }() // also after a panic: then waiting requests look for another one
	c, d.failure = t.dial(r, client, left)
	return c, true, d.failure
}

// dialed records the end of d, with the connection c, nil if it failed.
func (t *Transport) dialed(d *dialing, c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.Index(t.dialing, d); at >= 0 {
		t.dialing = slices.Delete(t.dialing, at, at+1)
	}
	if c != nil {
		t.conns = append(t.conns, c)
		c.mu.Lock()
		t.allowed = max(1, c.most())
		c.mu.Unlock()
	}
	close(d.done)
}

// same reports whether a connection for host d can carry a request for host.
func (t *Transport) same(d string, host []byte) bool {
	return !t.scheme.Secure() || t.named || string(upstream.Hostname(host)) == upstream.Hostname(d) || wire.EqualFold(upstream.Hostname(host), upstream.Hostname(d))
}

// wait waits until the connection is made. It returns the failure of the dial, unless
// the dialing request had too little time left.
func (d *dialing) wait(left time.Duration) *upstream.Failure {
	late := time.NewTimer(left)
	defer late.Stop()
	select {
	case <-d.done:
	case <-late.C:
		return &upstream.Failure{Kind: upstream.FailedConnect, Processing: upstream.NotSent, Err: fmt.Errorf("%w: %w", upstream.ErrConnect, context.DeadlineExceeded)}
	}
	if d.failure != nil && errors.Is(d.failure.Err, context.DeadlineExceeded) {
		return nil
	}
	return d.failure
}

// dial makes a connection, and waits for the instance's SETTINGS, which show that it
// speaks HTTP/2. Nothing of a request is sent before that.
func (t *Transport) dial(r *upstream.Request, client netip.AddrPort, left time.Duration) (*conn, *upstream.Failure) {
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	var nc net.Conn
	var name string
	var err error
	protocols := []string{"h2"}
	if r.Check {
		nc, err = t.endpoint.DialCheck(ctx, string(r.Host), protocols, left)
	} else {
		nc, name, err = t.endpoint.Dial(ctx, client, string(r.Host), protocols)
	}
	if err != nil {
		return nil, dialFailure(err)
	}
	if secure, ok := nc.(*tls.Conn); ok && t.scheme.Secure() && secure.ConnectionState().NegotiatedProtocol != "h2" {
		nc.Close()
		return nil, t.unusable(r, errALPN)
	}
	whole := false
	defer func() {
		if !whole { // after a panic
			nc.Close()
		}
	}()
	c := t.newConn(nc, name, r)
	c.client = client
	c.taken = 1
	whole = true
	go c.begin()
	late := time.NewTimer(min(left, t.options.settingsTime()))
	defer late.Stop()
	select {
	case <-c.ready:
	case <-late.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == opening && c.peer.maxStreams == 0:
		c.fail(errNoStream)
	case c.state == opening:
		c.fail(errSettings)
	}
	if c.greeted || c.gone != nil { // perhaps dead already: begin says why
		return c, nil
	}
	return nil, t.unusable(r, c.err)
}

// settingsTime bounds the wait for an instance's SETTINGS.
func (Options) settingsTime() time.Duration { return 5 * time.Second }

// unusable returns the Failure for a connection on which the instance does not speak
// HTTP/2: no byte of a request was sent. If the instance sent nothing, or has closed
// the connection, it had no work either, as if it could not be connected to.
func (t *Transport) unusable(r *upstream.Request, err error) *upstream.Failure {
	if !r.Check {
		t.endpoint.Unusable(err)
	}
	var broken *http2.ConnError
	if spoke := errors.Is(err, errNotHTTP2) || errors.As(err, &broken) || err == errALPN || err == errSettings || err == errNoStream; !spoke {
		if denied, _ := t.endpoint.Denied(err); denied != nil {
			return &upstream.Failure{Kind: upstream.FailedDenied, Processing: upstream.Refused, Err: denied}
		}
	}
	if errors.Is(err, errNotHTTP2) || errors.As(err, &broken) || err == errALPN {
		return &upstream.Failure{Kind: upstream.FailedProtocol, Processing: upstream.Refused, Err: err}
	}
	if err != errSettings && err != errNoStream {
		err = fmt.Errorf("the instance closed the connection before its SETTINGS: %w", err)
	}
	return &upstream.Failure{Kind: upstream.FailedProtocol, Processing: upstream.NotSent, Err: err}
}

// dialFailure returns the Failure for a failed connect: no byte of the request was
// sent.
func dialFailure(err error) *upstream.Failure {
	f := &upstream.Failure{Kind: upstream.FailedConnect, Processing: upstream.NotSent, Err: err}
	var handshake *upstream.HandshakeError
	switch {
	case errors.As(err, &handshake) && handshake.NoProtocol():
		f.Kind, f.Processing, f.Err = upstream.FailedProtocol, upstream.Refused, errALPN
	case errors.Is(err, upstream.ErrNoDescriptor):
		f.Kind = upstream.FailedDescriptor
	case errors.Is(err, upstream.ErrHandshake):
		f.Kind, f.Processing = upstream.FailedHandshake, upstream.Refused
	case errors.Is(err, upstream.ErrNoIdentity):
		f.Kind = upstream.FailedIdentity
	case errors.Is(err, upstream.ErrDenied):
		f.Kind, f.Processing = upstream.FailedDenied, upstream.Refused
	}
	return f
}
