package front

import (
	"time"

	"serai/wire/socket"
)

// Ending is how a connection is closed after its session has ended.
type Ending uint8

const (
	// Graceful: the client gets everything that was written, whatever it still sends.
	Graceful Ending = iota
	// Lingering is Graceful, and the connection stays open for a while even if the client
	// has acknowledged everything: it may still be sending the rest of a body, or bytes
	// after a refused head, or must still get the TLS alert that ends the answer.
	Lingering
	// AtOnce: the client has left, or the framing shows that the answer is incomplete.
	AtOnce
	// Reset: the answer is incomplete, and only a reset shows that to the client.
	Reset
	// Parked is no end: the connection is silent, and Serve must be called again in a new
	// goroutine. The stack of the current one has grown, and would stay large as long as
	// the connection is idle.
	Parked
	// PriorKnowledge is no end either: the client has sent the HTTP/2 preface (RFC 9113
	// section 3.3), which is still unread. Another engine takes over the connection.
	PriorKnowledge
)

// Bounds after the last answer. A client that reads it slowly has as much time as for any
// part of an answer: WriteIdle.
const (
	lingerQuiet = 2 * time.Second
	lingerBytes = 4 << 20
)

// end closes the connection.
func (c *Conn) end(how Ending) {
	c.mu.Lock()
	c.state = closing
	c.mu.Unlock()
	switch how {
	case Reset:
		c.Socket.Abort()
	case AtOnce: // remove closes the socket
	case Graceful, Lingering:
		c.Socket.Finish(socket.Lingering{Bytes: lingerBytes, Quiet: lingerQuiet,
			Longest: c.server.options.WriteIdle, Expected: how == Lingering})
	}
	if watched := c.server.remove(c); !watched {
		c.server.recycle(c, how)
	}
}
