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

// connState is the state of a connection.
type connState uint8

const (
	opening connState = iota // the SETTINGS of the instance have not come, or allow no streams
	open
	retired // it takes no new stream, and ends after the last one
	dead    // its streams have failed
)

// conn is a connection to the instance. One goroutine reads it, and ends with it.
type conn struct {
	socket.Conn
	transport *Transport
	// serverName and client are the TLS name, in lower case, and the client that it was
	// opened for; empty without TLS, and zero without the PROXY protocol.
	serverName string
	client     netip.AddrPort
	// alone says that it is for one request only.
	alone     bool
	limits    wire.Limits
	interims  int
	writeIdle time.Duration
	reader    reader
	ready     chan struct{} // closed when it is no longer opening

	mu           sync.Mutex
	state        connState
	greeted      bool  // it was open once: what ended it then is no sign of another protocol
	gone         error // the last GOAWAY that has come
	err          error // why it is dead
	peer         settings
	streams      map[uint32]*stream
	recent       *stream // the one of streams that was last looked for; may be nil
	taken        int     // streams that are reserved for requests, or in use
	next         uint32  // ID of the next stream
	lostReported bool    // the endpoint was told that the path is lost

	// Output.
	out, spare []byte
	flushing   bool
	flushed    chan struct{} // closed when nobody flushes any more; nil when nobody waits for that
	appended   uint64        // bytes that were ever appended to out
	written    uint64        // of these, bytes that were taken out
	begun      bool          // out has heads of requests
	sendWindow int64
	resets     int // streams that serai has reset
	uploads    int // uploads that may wait for room or a window

	// Input.
	window   int // bytes that the instance may send
	credit   int // bytes to be given back to it
	noise    noise
	answers  int       // bytes of out that answer frames of the instance
	heard    time.Time // when something last came
	answered time.Time // when part of an answer last came
	pinged   time.Time // when the last PING was sent
	silent   bool      // the PING was not answered in time

	idleSince time.Time
	keeps     bool // see rested
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

// begin sends the preface, and reads the connection until it ends.
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
	c.add(appendSettings(c.out, c.limits.Head))
	c.add(http2.AppendWindowUpdate(c.out, 0, connWindow-http2.InitialWindow))
	c.flush()
}

// carries reports whether c can carry a request for host by that client.
func (c *conn) carries(host []byte, client netip.AddrPort) bool {
	return c.client == client && (c.serverName == "" || c.transport.named || wire.EqualFold(upstream.Hostname(host), c.serverName))
}

// reserve reserves a stream for a request, and reports whether there was one. It
// refuses if the instance leaves much unread. A fresh request gets no connection that
// was idle.
func (c *conn) reserve(now time.Time, fresh bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open || c.silent || c.taken >= c.most() || c.next > http2.MaxStream || len(c.out) > mostUnread {
		return false
	}
	if c.taken == 0 && (fresh || now.Sub(c.idleSince) >= c.transport.keeping.Timeout) {
		return false
	}
	c.endRest()
	c.taken++
	return true
}

// most is the largest number of streams at once. c.mu is held.
func (c *conn) most() int { return int(min(uint32(c.transport.options.Streams), c.peer.maxStreams)) }

// giveBack gives a reserved stream back. c.mu is held.
func (c *conn) giveBack(now time.Time) {
	if c.taken--; c.taken > 0 {
		return
	}
	c.idleSince = now
	c.beginRest()
	if c.alone || c.state == retired || c.transport.keeping.Most < 0 || c.transport.endpoint.State() == upstream.Leaving {
		c.fail(errOver)
	}
}

// retire makes c take no new stream. c.mu is held.
func (c *conn) retire() {
	if c.state == open {
		c.state = retired
		if c.taken == 0 {
			c.fail(errOver)
		}
	}
}

// stream returns an open stream, nil for none. Frames of the same stream often come
// together. c.mu is held.
func (c *conn) stream(id uint32) *stream {
	if s := c.recent; s != nil && s.id == id {
		return s
	}
	c.recent = c.streams[id]
	return c.recent
}

// fail ends the connection and all its streams. Its reader closes it. c.mu is held.
func (c *conn) fail(err error) {
	if c.state == dead {
		return
	}
	was := c.state
	c.state, c.err = dead, err
	c.endRest()
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

// reset resets a stream that the instance may still consider open. An instance may
// count resets, and close the connection if there are too many. So after some resets
// the connection takes no new streams: clients that leave must not cause that for
// others. c.mu is held.
func (c *conn) reset(s *stream, code http2.Code) {
	const most = 200
	c.answer(http2.AppendRSTStream(c.out, s.id, code))
	if c.resets++; c.resets >= most {
		c.retire()
	}
}

// wakeUploads wakes uploads that wait to send more. c.mu is held.
func (c *conn) wakeUploads() {
	if c.uploads == 0 {
		return
	}
	for _, s := range c.streams {
		s.wakeUpload()
	}
}
