package front

import (
	"net/netip"
	"time"

	"serai/internal/memory"
	"serai/wire/socket"
)

// Engine speaks one application protocol. Its methods may be called at the same
// time.
type Engine interface {
	// Open takes a connection over, and returns what serves it. It does not wait.
	Open(c *Conn) Session
	// Plaintext returns what tells a client that has begun with first, which is
	// no TLS record, that the port speaks TLS; nil when first is not how this
	// protocol begins.
	Plaintext(first [5]byte) []byte
}

// Session is one connection in the hands of an engine. Serve is called by one
// goroutine at a time, the others by any while it runs, and these do not wait.
type Session interface {
	// Serve carries the connection until it is to end, or is Parked, and says how
	// it is to be closed. It closes nothing itself.
	Serve() Ending
	// Drain makes the connection end with what is under way, and an idle one at
	// once. Serve may not have been called yet.
	Drain()
	// Cut ends it whatever is under way.
	Cut()
	// Check ends what waits in vain: for a client that has left, or behind a path
	// that is cut. It is called about once a second, and costs nothing where
	// nothing has waited for long.
	Check(now time.Time)
}

// HTTP2 is under which name Options.Engines has the engine for clients without TLS that
// speak HTTP/2 without asking.
const HTTP2 = "h2c"

// TakesPriorKnowledge reports whether a session may end as PriorKnowledge.
func (c *Conn) TakesPriorKnowledge() bool { return !c.Secure && c.server.options.Engines[HTTP2] != nil }

// Peer is who is at the other end of a connection.
type Peer struct {
	// Remote is the client's address, or a balancer's; behind the PROXY protocol
	// the one that it names. Local is ours.
	Remote, Local netip.AddrPort
	// RemoteText is Remote's address as text: each request tells it to its instance.
	RemoteText []byte
	// Secure says that the connection is over TLS, TLSVersion which one, as crypto/tls
	// numbers them. ServerName is for which name it was opened (SNI), Protocol what ALPN
	// has agreed on, both empty when the client did not say.
	Secure               bool
	TLSVersion           uint16
	ServerName, Protocol string
	// Shard is the same for connections that tend to share a core.
	Shard int
	// Memory is who memory is taken for; nil for no limit.
	Memory *memory.Client
}

// Conn is a client's connection. The engine that has it reads from Socket and
// writes to it, and leaves closing to the server.
type Conn struct {
	Socket socket.Conn
	Peer
	conn
}

// MakesRoom reports whether the connection, which is idle and takes so many bytes, is to
// end, since others need its memory or its place. It does so once.
func (c *Conn) MakesRoom(bytes int64) bool {
	s := c.server
	if c.Memory.Recall(bytes) {
		return true
	}
	if s.own.recall(&c.own) || s.options.Clients.recall(&c.shared) {
		s.recalled.Add(1)
		return true
	}
	return false
}

// Retiring reports whether every answer is to be the last of its connection.
func (c *Conn) Retiring() bool { return c.server.retiring.Load() }
