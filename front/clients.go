package front

import (
	"net"
	"net/netip"
	"sync"

	"serai/internal/memory"
	"serai/internal/quota"
)

// clientKey is what connections are counted by: an IPv4 address, or the /64 of
// an IPv6 one, which one client has to itself.
type clientKey netip.Prefix

func keyOf(a netip.Addr) clientKey {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return clientKey(p)
}

// Clients counts what each client has of what all share: connections, and memory.
// Several Servers may have the same one.
type Clients struct {
	memory *memory.Budget // nil for no limit
	conns  *quota.Fair    // nil for no limit
	level  int64          // of connections, for clients beyond their share

	mu    sync.Mutex
	known map[clientKey]*client // those with a connection
}

// client is what one of them has.
type client struct {
	key    clientKey
	open   int          // connections
	conns  quota.Holder // of them
	memory memory.Client
}

// NewClients makes a Clients whose connections and requests take of m, and are so
// many connections at once. A nil m, and zero connections, mean no limit.
func NewClients(m *memory.Budget, conns int) *Clients {
	cs := &Clients{memory: m, known: make(map[clientKey]*client)}
	if conns > 0 {
		cs.conns = quota.NewFair(int64(conns))
		cs.level = int64(conns - conns/16)
	}
	return cs
}

// Open returns how many connections there are, 0 where they have no limit.
func (cs *Clients) Open() int {
	if cs.conns == nil {
		return 0
	}
	return int(cs.conns.Taken())
}

// Settle finds the shares of all clients anew.
func (cs *Clients) settle() {
	cs.memory.Settle()
	if cs.conns != nil {
		cs.conns.Settle()
	}
}

// admit counts a connection of so many bytes in, and returns its client; nil when
// that has no room for it, or has most connections, if that is not zero.
func (cs *Clients) admit(key clientKey, bytes int64, most int) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.known[key]
	if c == nil {
		c = &client{key: key}
		c.memory.Join(cs.memory)
		if cs.conns != nil {
			c.conns.Join(cs.conns)
		}
		cs.known[key] = c
	}
	c.open++
	if most == 0 || c.open <= most {
		if cs.conns == nil || c.conns.Take(1, cs.level) {
			if c.memory.Take(memory.Connections, bytes) {
				return c
			}
			cs.give(c)
		}
	}
	cs.leave(c)
	return nil
}

// dismiss counts a connection out that admit has counted in.
func (cs *Clients) dismiss(c *client, bytes int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.memory.Give(memory.Connections, bytes)
	cs.give(c)
	cs.leave(c)
}

func (cs *Clients) give(c *client) {
	if cs.conns != nil {
		c.conns.Give(1)
	}
}

// leave forgets c with its last connection. cs.mu is held.
func (cs *Clients) leave(c *client) {
	if c.open--; c.open > 0 {
		return
	}
	delete(cs.known, c.key)
	c.memory.Leave()
	if cs.conns != nil {
		c.conns.Leave()
	}
}

// peerOf returns the address of the socket below nc, and whether the client's may
// be another, which a header is to name.
func peerOf(nc net.Conn) (peer net.Addr, named bool) {
	named = true
	for {
		if _, ok := nc.(announced); ok {
			named = false
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc.RemoteAddr(), named
		}
		nc = outer.NetConn()
	}
}
