package front

import (
	"time"

	"serai/wire/socket"
)

// Ending is how a connection is closed once its session has ended.
type Ending uint8

const (
	// Graceful: the client gets all that was written, whatever it still sends.
	Graceful Ending = iota
	// Lingering is Graceful where even a client that has acknowledged all is not
	// closed at once: it is known to be sending, the rest of a body or behind a
	// head that was refused, or is still to get TLS's word that the answer is
	// whole.
	Lingering
	// AtOnce: the client has left, or was told by its framing that the answer is
	// cut.
	AtOnce
	// Reset: the answer is cut, and only a reset tells the client.
	Reset
	// Parked is no end: the connection is silent, and Serve is to be called again
	// in another goroutine. The stack of this one has grown, and would be kept
	// for as long as the connection is idle.
	Parked
	// PriorKnowledge is no end either: the client has begun with the preface of HTTP/2
	// (RFC 9113 section 3.3), which is unread. Another engine takes the connection.
	PriorKnowledge
)

// Bounds of the time after the last answer. Clients that are slow to take it
// have as long as those that are slow to take a part of one.
const (
	lingerQuiet = 2 * time.Second
	lingerBytes = 4 << 20
)

// end closes the connection as it is to end.
func (c *Conn) end(how Ending) {
	c.mu.Lock()
	c.state = closing
	c.mu.Unlock()
	switch how {
	case Reset:
		c.Socket.Abort()
	case AtOnce: // what is left is done by remove
	case Graceful, Lingering:
		c.Socket.Finish(socket.Lingering{Bytes: lingerBytes, Quiet: lingerQuiet,
			Longest: c.server.options.WriteIdle, Expected: how == Lingering})
	}
	if watched := c.server.remove(c); !watched {
		c.server.recycle(c, how)
	}
}
