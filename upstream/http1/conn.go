package http1

import (
	"net"
	"sync/atomic"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// conn is a connection to the instance. While it is idle it belongs to its transport.
// While it carries a request it belongs to that request, until End.
type conn struct {
	socket.Conn
	transport *Transport
	unused    bool          // a probe made it, and no request has come yet
	reused    bool          // it was idle before this request
	idled     time.Duration // how long it was idle, 0 for a new connection

	// serverName is the TLS name that the connection was opened for, in lower case;
	// empty without TLS.
	serverName string
	// announced is how long the instance keeps an idle connection, as it says, less the
	// time that a request needs to arrive. It is 0 if the instance says nothing,
	// negative if it keeps none.
	announced time.Duration
	idleSince time.Time
	rests     time.Duration // for how long it is left alone when it becomes idle

	// State of the current request.
	upload    *upstream.Upload // nil if the whole body is sent with the head
	body      wire.Body
	keepAlive bool // the connection can carry another request after the answer
	spent     bool // whatever the instance says, it carries no other: see unexpected
	enlarge   bool // the answer's body should get a large buffer
	lost      atomic.Bool
}

var (
	_ upstream.Stream   = (*conn)(nil)
	_ upstream.Spliced  = (*conn)(nil)
	_ upstream.Tunneler = (*conn)(nil)
)

func (t *Transport) newConn(nc net.Conn, serverName string) *conn {
	c := &conn{transport: t, serverName: serverName}
	c.Init(nc)
	return c
}

// carries reports whether c has the TLS name that a request for host needs.
func (c *conn) carries(host []byte) bool {
	return c.serverName == "" || c.transport.named || wire.EqualFold(upstream.Hostname(host), c.serverName)
}

// Next returns the next bytes of the answer's body.
func (c *conn) Next() ([]byte, error) {
	if c.enlarge && !c.body.Ready() && !c.body.Done() {
		c.enlarge = false
		c.Enlarge()
	}
	return c.body.Next()
}

// Pull moves the next bytes of the answer's body into p.
func (c *conn) Pull(p *socket.Pipe) (int, error) { return p.Pull(&c.body, &c.Conn) }

// Ready reports whether Next would return bytes without reading.
func (c *conn) Ready() bool { return c.body.Ready() }

// Done reports whether the body has ended.
func (c *conn) Done() bool { return c.body.Done() }

// Trailers returns the fields after the body.
func (c *conn) Trailers() []wire.Field { return c.body.Trailers() }

// CheckPath interrupts the request when the instance does not acknowledge what it is
// sent.
func (c *conn) CheckPath() {
	if c.Lost() {
		c.lost.Store(true)
		c.Interrupt()
	}
}

// End ends the upload, if it is still running, and keeps the connection for another
// request or closes it.
func (c *conn) End(whole bool) time.Time {
	sent := c.stopUpload()
	now := time.Now()
	switch quiet := len(c.Buffered()) == 0 && !c.Interrupted(); {
	case whole && sent && c.keepAlive && quiet:
		c.transport.put(c, now)
	case whole && sent && c.spent && quiet:
		// Any client can have this done as often as it likes.
		c.EndFree()
	default:
		c.Conn.End()
	}
	return now
}

// Tunnel returns the connection as a byte stream in both directions.
func (c *conn) Tunnel() (upstream.Duplex, *upstream.Failure) {
	if c.Interrupted() {
		return nil, c.unanswered(upstream.Answered)
	}
	return socket.Duplex{Conn: &c.Conn}, nil
}
