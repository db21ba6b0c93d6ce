package front

import (
	"iter"
	"net"
	"net/netip"
	"sync"

	"serai/internal/memory"
	"serai/internal/quota"
)

// Clients counts what each client uses of the shared connections and memory. Several
// Servers may share it.
type Clients struct {
	memory *memory.Budget // nil for no limit
	conns  *quota.Fair    // nil for no limit
	level  int64          // connections that clients beyond their share may take
	scarce chan struct{}  // has an element when more than level are taken

	mu       sync.Mutex
	known    map[netip.Prefix]*client // clients with a connection
	recalled int64                    // connections that were told to end, to make room
}

// counted is what a connection counts for in one Clients, whose mu guards it.
type counted struct {
	client   *client // nil while it is not counted
	recalled bool
}

// client is what one client uses.
type client struct {
	key    netip.Prefix
	open   int          // number of connections
	conns  quota.Holder // share of the connections
	memory memory.Client
}

// NewClients makes a Clients. Its connections and requests use the memory of m, and it
// allows conns connections at once. A nil m and zero conns mean no limit.
func NewClients(m *memory.Budget, conns int) *Clients {
	cs := &Clients{memory: m, known: make(map[netip.Prefix]*client), scarce: make(chan struct{}, 1)}
	if conns > 0 {
		cs.conns = quota.NewFair(int64(conns))
		cs.level = int64(conns - conns/16)
	}
	return cs
}

// Open returns the number of connections, 0 if they have no limit.
func (cs *Clients) Open() int {
	if cs.conns == nil {
		return 0
	}
	return int(cs.conns.Taken())
}

// settle computes the shares of all clients anew.
func (cs *Clients) settle() {
	cs.memory.Settle()
	if cs.conns != nil {
		cs.conns.Settle()
	}
}

// tight reports whether so many connections are open that idle ones must make room.
func (cs *Clients) tight() bool { return cs.conns != nil && cs.conns.Taken() > cs.level }

// admit counts a connection that uses that many bytes as k, and returns its client. It
// returns nil when there is no room for it, or when the client already has most
// connections, if most is not zero.
func (cs *Clients) admit(k *counted, key netip.Prefix, bytes int64, most int) *client {
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

// takeConn takes a connection for c. A client without a connection may take one of the
// last ones, however many clients share them. When those are being taken, idle
// connections of others make room.
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

// recall reports whether k, which is idle, must end now so that others get their share.
// It chooses connections of clients beyond their share, and no more than necessary.
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

// dismiss undoes admit, if that has counted k.
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

// leave removes c with its last connection. cs.mu is held.
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

// peerOf returns the address of the socket below nc. It reports known as false if a
// PROXY header will name another address for the client.
func peerOf(nc net.Conn) (peer net.Addr, known bool) {
	known = true
	for c := range layers(nc) {
		if _, ok := c.(proxiedConn); ok {
			known = false
		}
		nc = c
	}
	return nc.RemoteAddr(), known
}

// layers yields a connection and what is below it, down to the socket.
func layers(c net.Conn) iter.Seq[net.Conn] {
	return func(yield func(net.Conn) bool) {
		for yield(c) {
			outer, ok := c.(interface{ NetConn() net.Conn })
			if !ok {
				return
			}
			c = outer.NetConn()
		}
	}
}
