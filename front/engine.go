package front

import (
	"net/netip"
	"time"

	"serai/internal/memory"
	"serai/wire/socket"
)

// Engine implements one application protocol. Its methods may be called concurrently.
type Engine interface {
	// Open takes over a connection, and returns its session. It does not wait.
	Open(c *Conn) Session
	// Plaintext returns an answer for a client that speaks without TLS to a port that
	// expects TLS. First is what the client has sent. It returns nil if this protocol
	// does not begin like that.
	Plaintext(first [5]byte) []byte
}

// Session is one connection that an engine serves. One goroutine at a time calls Serve.
// Any goroutine may call the other methods while Serve runs; they do not wait.
type Session interface {
	// Serve serves the connection until it must end, or is Parked, and says how to close
	// it. It closes nothing itself.
	Serve() Ending
	// Drain makes the connection end after its current requests, and an idle one at
	// once. It may be called before Serve.
	Drain()
	// Cut ends the connection at once.
	Cut()
	// Check ends requests that wait in vain: for a client that has left, or for an
	// instance whose network path is lost. It is called about once a second, and costs
	// nothing if nothing has been waiting for long.
	Check(now time.Time)
}

// HTTP2 is the key in Options.Engines of the engine for clients that speak HTTP/2
// without TLS and without an upgrade.
const HTTP2 = "h2c"

// TakesPriorKnowledge reports whether a session may end as PriorKnowledge.
func (c *Conn) TakesPriorKnowledge() bool { return !c.Secure && c.server.options.Engines[HTTP2] != nil }

// Peer describes the other end of a connection.
type Peer struct {
	// Remote is the client's address, or a load balancer's; with the PROXY protocol the
	// address that its header names. Local is serai's address.
	Remote, Local netip.AddrPort
	// RemoteText is Remote's address as text, and PortText Local's port, which each request
	// passes to its instance.
	RemoteText, PortText []byte
	// Secure says that the connection uses TLS, TLSVersion which version, as crypto/tls
	// numbers them. ServerName is the name that the client sent (SNI), Protocol the one
	// that ALPN selected; both are empty if the client sent none.
	Secure               bool
	TLSVersion           uint16
	ServerName, Protocol string
	// Shard is the same for connections that tend to run on the same core.
	Shard int
	// Memory is the client that memory counts for; nil means no limit.
	Memory *memory.Client
}

// Conn is a client's connection. Its engine reads from and writes to Socket, and leaves
// closing to the server.
type Conn struct {
	Socket socket.Conn
	Peer
	conn
}

// MakesRoom reports whether the connection, which is idle and uses that many bytes,
// must end because others need its memory or its place. It reports so once.
func (c *Conn) MakesRoom(bytes int64) bool {
	return c.Memory.Recall(bytes) || c.MakesPlace()
}

// MakesPlace reports whether the connection, which is idle or whose client takes long to
// say what it wants, must end because others need its place. It reports so once.
func (c *Conn) MakesPlace() bool {
	s := c.server
	if s.own.recall(&c.own) || s.options.Clients.recall(&c.shared) {
		s.recalled.Add(1)
		return true
	}
	return false
}

// Retiring reports whether every answer must be the last one of its connection.
func (c *Conn) Retiring() bool { return c.server.retiring.Load() }
