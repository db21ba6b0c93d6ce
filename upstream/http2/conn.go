package http2

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
	"serai/wire/socket"
)

// connState is what a connection is good for.
type connState uint8

const (
	opening connState = iota // its SETTINGS have not come
	open
	retired // it takes no new stream, and ends with the last one
	dead    // its streams have failed
)

// conn is a connection to the instance. One goroutine reads it, which ends with it.
type conn struct {
	socket.Conn
	transport *Transport
	// serverName and client are what it was opened for: in lower case, empty without
	// TLS; zero without the PROXY protocol.
	serverName string
	client     netip.AddrPort
	// alone says that it is for one request.
	alone     bool
	limits    wire.Limits
	interims  int
	writeIdle time.Duration
	reader    reader
	ready     chan struct{} // closed when it is not opening any more

	mu      sync.Mutex
	state   connState
	err     error // why it is dead
	peer    settings
	streams map[uint32]*stream
	taken   int    // streams that were promised to requests, or are under way
	next    uint32 // ID of the next stream
	told    bool   // the endpoint knows that the way is cut

	// What is sent.
	out, spare []byte
	flushing   bool
	flushed    chan struct{} // is closed when nobody flushes any more; nil when nobody waits for that
	appended   uint64        // bytes that were ever appended to out
	written    uint64        // of these, bytes that left it
	begun      bool          // the heads of requests are in out
	sendWindow int64
	resets     int // streams that we have reset
	uploads    int // that may wait for room or a window

	// What comes.
	window   int // that the instance has
	credit   int // that it is to be given
	noise    noise
	answers  int       // bytes of out that answer frames of the instance
	heard    time.Time // when something came last
	answered time.Time // when that was of an answer
	pinged   time.Time // when the instance was last asked whether it is there
	silent   bool      // it has not said so in time

	idleSince time.Time
}

func (t *Transport) newConn(nc net.Conn, serverName string, r *upstream.Request) *conn {
	now := time.Now()
	c := &conn{
		transport: t, serverName: serverName, limits: r.Bounds.Head, interims: r.Bounds.Interim, writeIdle: r.Bounds.WriteIdle,
		alone: r.Check || t.tellsClient, ready: make(chan struct{}), peer: firstSettings(), streams: make(map[uint32]*stream), next: 1,
		sendWindow: http2.InitialWindow, window: connWindow, heard: now, idleSince: now,
	}
	c.Init(nc)
	c.reader.init(c)
	return c
}

// begin says the preface, and reads the connection until it ends.
func (c *conn) begin() {
	defer c.End()
	defer c.contain()
	c.greet()
	c.read()
}

func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(append(c.out, http2.Preface...))
	c.add(appendOurs(c.out, c.limits.Head))
	c.add(http2.AppendWindowUpdate(c.out, 0, connWindow-http2.InitialWindow))
	c.flush()
}

// carries reports whether c was opened for what a request for host, by that client,
// needs.
func (c *conn) carries(host []byte, client netip.AddrPort) bool {
	return c.client == client && (c.serverName == "" || c.transport.named || wire.EqualFold(upstream.Hostname(host), c.serverName))
}

// promise keeps a stream for a request, and reports whether there is one: not where the
// instance has let much wait that it is to read. A fresh request is not given a connection
// that has been idle.
func (c *conn) promise(now time.Time, fresh bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open || c.silent || c.taken >= c.most() || c.next > http2.MaxStream || len(c.out) > mostUnread {
		return false
	}
	if c.taken == 0 && (fresh || now.Sub(c.idleSince) >= c.transport.keeping.Timeout) {
		return false
	}
	c.taken++
	return true
}

// most is how many streams there may be at once. c.mu is held.
func (c *conn) most() int { return int(min(uint32(c.transport.options.Streams), c.peer.maxStreams)) }

// giveBack ends a promise. c.mu is held.
func (c *conn) giveBack(now time.Time) {
	if c.taken--; c.taken > 0 {
		return
	}
	c.idleSince = now
	if len(c.out) == 0 && max(cap(c.out), cap(c.spare)) > http2.FrameSize { // for a crowd, which is gone
		c.out, c.spare = nil, nil
	}
	if c.alone || c.state == retired || c.transport.keeping.Most < 0 || c.transport.endpoint.State() == upstream.Leaving {
		c.fail(errOver)
	}
}

// retire has c take no new stream. c.mu is held.
func (c *conn) retire() {
	if c.state == open {
		c.state = retired
		if c.taken == 0 {
			c.fail(errOver)
		}
	}
}

// fail ends the connection and all of its streams. Its reader closes it. c.mu is
// held.
func (c *conn) fail(err error) {
	if c.state == dead {
		return
	}
	was := c.state
	c.state, c.err = dead, err
	if n := len(c.streams); n > 0 {
		c.transport.endpoint.Ended(err, n)
	}
	for _, s := range c.streams {
		s.fail(err)
	}
	if was == opening {
		close(c.ready)
	}
	c.Interrupt()
}

// reset ends a stream of which the instance may still think that it is under way.
// An instance may count how many of them are reset, and end the connection of who
// does so too often: clients that leave are not to do this to others. c.mu is
// held.
func (c *conn) reset(s *stream, code http2.Code) {
	const most = 200
	c.answer(http2.AppendRSTStream(c.out, s.id, code))
	if c.resets++; c.resets >= most {
		c.retire()
	}
}

// tellUploads wakes those that wait to send more. c.mu is held.
func (c *conn) tellUploads() {
	if c.uploads == 0 {
		return
	}
	for _, s := range c.streams {
		s.tellUpload()
	}
}
