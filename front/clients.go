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
	scarce chan struct{}  // has one when more than level are taken

	mu       sync.Mutex
	known    map[clientKey]*client // those with a connection
	recalled int64                 // connections that are about to end, to make room
}

// counted is what a connection counts for in one Clients, whose mu guards it.
type counted struct {
	client   *client // nil while it is not counted
	recalled bool
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
	cs := &Clients{memory: m, known: make(map[clientKey]*client), scarce: make(chan struct{}, 1)}
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

// tight reports whether so many connections are taken that idle ones are to make room.
func (cs *Clients) tight() bool { return cs.conns != nil && cs.conns.Taken() > cs.level }

// admit counts a connection of so many bytes in, as k, and returns its client; nil when
// that has no room for it, or has most connections, if that is not zero.
func (cs *Clients) admit(k *counted, key clientKey, bytes int64, most int) *client {
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
		if cs.takeConn(c) {
			if c.memory.Take(memory.Connections, bytes) {
				*k = counted{client: c}
				return c
			}
			cs.give(c)
		}
	}
	cs.leave(c)
	return nil
}

// takeConn takes a connection for c. Who has none may have one of the last, however many
// share them. Where these are taken, idle ones of others make room for the next.
func (cs *Clients) takeConn(c *client) bool {
	if cs.conns == nil {
		return true
	}
	limit := cs.level
	if c.open == 1 {
		limit = cs.conns.Size()
	}
	ok := c.conns.Take(1, limit)
	if cs.tight() {
		select {
		case cs.scarce <- struct{}{}:
		default:
		}
	}
	return ok
}

// recall reports whether k, which is idle, is to end now, so that others come to their
// share: one of a client beyond its own, and no more than it takes.
func (cs *Clients) recall(k *counted) bool {
	if !cs.tight() {
		return false
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if k.client == nil || k.recalled || !k.client.conns.Beyond(16) || cs.recalled >= cs.conns.Taken()-cs.level {
		return false
	}
	k.recalled = true
	cs.recalled++
	return true
}

// dismiss counts a connection out, if admit has counted it in.
func (cs *Clients) dismiss(k *counted, bytes int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := k.client
	if c == nil {
		return
	}
	if k.recalled {
		cs.recalled--
	}
	*k = counted{}
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
