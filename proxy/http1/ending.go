package http1

import (
	"time"

	"serai/wire/socket"
)

// ending is how a connection is closed once no request is read from it.
type ending uint8

const (
	// endWhole: the client gets all that was written, whatever it still sends.
	endWhole ending = iota
	// endExpecting is endWhole where even a client that has acknowledged all is not
	// closed at once: it is known to be sending, the rest of a body or behind a head
	// that was refused, or is still to get TLS's word that the answer is whole.
	endExpecting
	// endAtOnce: the client has left, or was told by its framing that the answer
	// is cut.
	endAtOnce
	// endCut: the answer is cut, and only a reset tells the client.
	endCut
)

// Bounds of the time after the last answer. Clients that are slow to take it
// have as long as those that are slow to take a part of one.
const (
	lingerQuiet = 2 * time.Second
	lingerBytes = 4 << 20
)

// finish closes the connection as it is to end.
func (c *conn) finish() {
	c.mu.Lock()
	c.ended = true // a drain waits for it
	gone := c.gone
	c.mu.Unlock()
	switch {
	case c.ending == endCut:
		c.wire.Abort()
	case gone, c.ending == endAtOnce: // what is left is done by remove
	case c.ending == endWhole, c.ending == endExpecting:
		c.wire.Finish(socket.Lingering{Bytes: lingerBytes, Quiet: lingerQuiet,
			Longest: c.server.options.WriteIdle, Expected: c.ending == endExpecting})
	}
}
