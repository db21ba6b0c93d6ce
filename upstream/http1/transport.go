package http1

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"serai/upstream"
)

// Transport speaks HTTP/1 to one endpoint's instance.
type Transport struct {
	endpoint    *upstream.Endpoint
	keeping     upstream.Keeping
	named       bool // all requests use one TLS name
	tellsClient bool // each connection is for one client, because of the PROXY protocol
	meshed      bool // connections are within Consul's mesh

	mu       sync.Mutex
	idle     []*conn // by idleSince, the newest last
	observed observedTimeout
}

var _ upstream.Transport = (*Transport)(nil)

// New makes the transport of e, for RegistryOptions.Transport.
func New(e *upstream.Endpoint, k upstream.Keeping) upstream.Transport {
	target := e.Target()
	return &Transport{endpoint: e, keeping: k, named: target.TLSName != "", tellsClient: target.ProxyProtocol != 0, meshed: target.Peer != (upstream.Peer{})}
}

// RoundTrip sends a request and waits for the head of its final answer. If idle
// connections turn out to be closed, it tries others.
func (t *Transport) RoundTrip(r *upstream.Request, a *upstream.Answer) *upstream.Failure {
	a.Stream, a.Now, a.Connected, a.FirstByte, a.ServiceTime = nil, r.Now, 0, 0, 0
	for {
		c, f := t.connect(r, a)
		if f != nil {
			return f
		}
		if !r.Caller.Hold(c) {
			c.Close()
			return &upstream.Failure{Kind: upstream.FailedCaller, Processing: upstream.NotSent, Err: errUnwanted}
		}
		f = c.roundTrip(r, a)
		switch {
		case f == nil:
			a.Stream = c
			return nil
		case f == staleFailure:
			t.stale(c, time.Now())
		default:
			a.Now = c.End(false)
			return f
		}
	}
}

// connect takes an idle connection, or opens one. A request whose body has not arrived
// completely gets a new one: it could not be sent again if the instance closed an idle
// one just now.
func (t *Transport) connect(r *upstream.Request, a *upstream.Answer) (*conn, *upstream.Failure) {
	if !r.Fresh && r.Complete && !t.tellsClient && len(r.Head.Upgrade) == 0 {
		if c := t.get(a.Now, r.Host, r.Repeatable); c != nil {
			return c, nil
		}
	}
	began := a.Now
	ctx, cancel := context.WithTimeout(context.Background(), r.Connect)
	defer cancel()
	nc, name, err := t.endpoint.Dial(ctx, r.Client, string(r.Host), []string{"http/1.1"})
	a.Now = time.Now()
	a.Connected = a.Now.Sub(began)
	if err != nil {
		return nil, dialFailure(err)
	}
	return t.newConn(nc, name), nil
}

// dialFailure is the Failure for a failed connect: no byte of the request was sent.
func dialFailure(err error) *upstream.Failure {
	f := &upstream.Failure{Kind: upstream.FailedConnect, Processing: upstream.NotSent, Err: err}
	switch {
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

// Keep keeps a connection that a probe has made.
func (t *Transport) Keep(nc net.Conn) {
	c := t.newConn(nc, "")
	c.unused = true
	t.put(c, time.Now())
}

// Status describes the connections.
func (t *Transport) Status() upstream.TransportStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return upstream.TransportStatus{Idle: len(t.idle), ClosesIdle: t.observed.after}
}
