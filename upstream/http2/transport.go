package http2

import (
	"errors"
	"net"
	"net/netip"
	"serai/wire/http2"
	"slices"
	"sync"
	"time"

	"serai/upstream"
)

// Options are the same for all endpoints. Zero values mean the defaults given here.
type Options struct {
	// Streams bounds the streams at once on one connection, 100, even if the instance
	// allows more. Further requests use another connection.
	Streams int
	// Panicked is called with a panic of a goroutine that serves a connection, which
	// ends with its requests, and with the address of the instance. It is called where
	// the panic was recovered. With nil, panics end the process.
	Panicked func(cause any, address string)
}

// Transport speaks HTTP/2 to one endpoint's instance.
type Transport struct {
	endpoint    *upstream.Endpoint
	keeping     upstream.Keeping
	options     Options
	rested      *rested
	scheme      upstream.Scheme
	named       bool // all requests use one TLS name
	tellsClient bool // each connection is for one client, because of the PROXY protocol

	mu      sync.Mutex
	conns   []*conn // the oldest first; dead ones are dropped now and then
	dialing []*dialing
	allowed int // streams that the instance last allowed on a connection
}

var _ upstream.Transport = (*Transport)(nil)

// New returns a function that makes transports with these options.
func New(o Options) func(*upstream.Endpoint, upstream.Keeping) upstream.Transport {
	if o.Streams == 0 {
		o.Streams = 100
	}
	all := new(rested)
	return func(e *upstream.Endpoint, k upstream.Keeping) upstream.Transport {
		target := e.Target()
		return &Transport{
			endpoint: e, keeping: k, options: o, rested: all, scheme: target.Scheme,
			named: target.TLSName != "", tellsClient: target.ProxyProtocol != 0, allowed: o.Streams,
		}
	}
}

// mostMoves bounds how often a request moves to another connection because the instance
// has not begun it on the previous one. Further attempts do not move away from connections
// that were made for them: a request must not cost as many as both bounds multiplied. But
// many requests may share each connection of an instance that begins one on each.
const mostMoves = 3

// RoundTrip sends a request and waits for the head of its final answer. If the instance
// ends a connection without beginning the request, RoundTrip sends it over another one.
func (t *Transport) RoundTrip(r *upstream.Request, a *upstream.Answer) *upstream.Failure {
	a.Stream, a.Now, a.Connected, a.FirstByte, a.ServiceTime = nil, r.Now, 0, 0, 0
	tunnel := wantsTunnel(r.Head)
	r.Scratch = appendHead(append(r.Scratch[:0], http2.NoTable), r.Head, t.scheme, tunnel)
	for moves := 0; ; moves++ {
		s, f := t.open(r, a)
		if f != nil {
			return f
		}
		if !r.Caller.Hold(s) {
			s.failed = true
			s.End(false)
			return &upstream.Failure{Kind: upstream.FailedCaller, Processing: upstream.NotSent, Err: errUnwanted}
		}
		if f = s.roundTrip(r, a, tunnel); f == nil {
			a.Stream = s
			return nil
		}
		// The caller may interrupt the stream until RoundTrip returns.
		s.failed = true
		pulled := s.upload != nil && !r.Complete
		a.Now = s.End(false)
		if pulled || moves == mostMoves || r.Fresh && s.made || !s.moves(f) {
			return f
		}
	}
}

// moves reports whether the request moves to another connection: the instance has not
// begun it, or has closed a used connection before any of the request was sent.
func (s *stream) moves(f *upstream.Failure) bool {
	switch {
	case f.Processing == upstream.Answered:
		return false
	case f.Err == errRetired, errors.Is(f.Err, errGoAway):
		return true
	}
	return f.Kind == upstream.FailedClosed && f.Processing == upstream.NotSent && s.id > 1
}

// open finds or makes a connection with room for the request.
func (t *Transport) open(r *upstream.Request, a *upstream.Answer) (*stream, *upstream.Failure) {
	client := netip.AddrPort{}
	if t.tellsClient && !r.Check {
		client = r.Client
	}
	began := a.Now
	for {
		if !r.Check {
			if c := t.get(a.Now, r, client); c != nil {
				s := c.newStream()
				if c.idle(a.Now) >= shortestIdle {
					s.idled = shortestIdle
				}
				return s, nil
			}
		}
		c, made, f := t.connect(r, client, began)
		a.Now = time.Now()
		a.Connected = a.Now.Sub(began)
		switch {
		case f != nil:
			return nil, f
		case c != nil:
			s := c.newStream()
			s.made = made
			return s, nil
		}
	}
}

// get returns a connection with a stream reserved, nil for none.
func (t *Transport) get(now time.Time, r *upstream.Request, client netip.AddrPort) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(now, r, client)
}

// find is get with t.mu held.
func (t *Transport) find(now time.Time, r *upstream.Request, client netip.AddrPort) *conn {
	for _, c := range t.conns {
		if c.carries(r.Host, client) && c.reserve(now, r.Fresh) {
			return c
		}
	}
	return nil
}

// idle returns how long c was idle when its only stream was reserved; 0 when there are
// other streams.
func (c *conn) idle(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken != 1 {
		return 0
	}
	return now.Sub(c.idleSince)
}

// Keep closes a connection that a probe has made: it would have to wait for the
// instance's SETTINGS before it could be used.
func (t *Transport) Keep(c net.Conn) { c.Close() }

// Sweep closes connections that have been idle for too long, and sends PINGs to
// instances that have been silent for long.
func (t *Transport) Sweep(now time.Time) {
	for _, c := range t.live() {
		c.sweep(now)
	}
	if more := t.Status().Idle - max(t.keeping.Most, 0); more > 0 {
		t.CloseIdle(now, more)
	}
}

// live drops the dead connections, and returns the others.
func (t *Transport) live() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = slices.DeleteFunc(t.conns, (*conn).isDead)
	return slices.Clone(t.conns)
}

// CloseIdle closes at most that many of the connections that have been idle since
// before, the oldest first, and returns how many it closed.
func (t *Transport) CloseIdle(before time.Time, most int) (closed int) {
	for _, c := range t.live() {
		if closed == most {
			break
		}
		if c.closeIdle(before) {
			closed++
		}
	}
	return closed
}

// Status describes the connections.
func (t *Transport) Status() upstream.TransportStatus {
	var s upstream.TransportStatus
	for _, c := range t.live() {
		c.mu.Lock()
		if c.taken == 0 {
			s.Idle++
		}
		c.mu.Unlock()
	}
	return s
}

const (
	// An instance that is silent for this long while it has streams is sent a PING. If the
	// network path is lost, the PING is not acknowledged. An instance that does not answer
	// gets no new requests over this connection; if it is only busy, it may still answer
	// those that it has.
	silence = 15 * time.Second
	// pause is the time between two PINGs without an answer from the instance: gRPC servers
	// close connections that ping more often than every five minutes.
	pause = 5*time.Minute + 15*time.Second
)

func (c *conn) sweep(now time.Time) {
	c.checkPath()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.rest(now)
	}
	switch {
	case c.state == opening || c.state == dead:
	case c.taken == 0:
		c.rest(now)
		if now.Sub(c.idleSince) >= c.transport.keeping.Timeout {
			c.fail(errOver)
		}
	case now.Sub(c.heard) < silence:
	case !c.pinged.After(c.answered), now.Sub(c.pinged) >= pause:
		c.ping(now)
	case c.pinged.After(c.heard) && now.Sub(c.pinged) >= silence:
		c.silent = true
	}
}

// ping sends a PING. c.mu is held.
func (c *conn) ping(now time.Time) {
	c.pinged = now
	c.add(http2.AppendPing(c.out, 0, [8]byte{}))
	c.flushSoon()
}

// closeIdle closes c if it has been idle since before, and reports whether it did.
func (c *conn) closeIdle(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken > 0 || c.state == opening || c.state == dead || !c.idleSince.Before(before) {
		return false
	}
	c.fail(errOver)
	return true
}
