package front

import (
	"iter"
	"net"
	"net/netip"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/internal/quota"
)

// Clients counts what each client uses of the shared connections and memory. Several
// Servers may share it.
type Clients struct {
	memory *memory.Budget // nil for no limit
	conns  *quota.Fair    // nil for no limit
	level  int64          // connections that clients beyond their share may take
	again  int64          // connections that those who were turned away may take
	scarce chan struct{}  // has an element when more than level are taken

	mu       sync.Mutex
	known    map[netip.Prefix]*client // clients with a connection
	recalled int64                    // connections that were told to end, to make room
	away     turnedAway
}

// counted is what a connection counts for in one Clients, whose mu guards it.
type counted struct {
	client   *client // nil while it is not counted
	unnamed  bool    // a PROXY header is to name another client
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
		cs.again = int64(conns - conns/32)
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
// connections, if most is not zero. Named says that k is the client; otherwise it is a load
// balancer that has not named its client yet.
func (cs *Clients) admit(k *counted, key netip.Prefix, named bool, bytes int64, most int) *client {
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
		if cs.takeConn(c, named) {
			if c.memory.Take(memory.Connections, bytes) {
				*k = counted{client: c, unnamed: !named}
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
// connections of others make room. A load balancer may take any, until it has named the client.
func (cs *Clients) takeConn(c *client, named bool) (ok bool) {
	switch {
	case cs.conns == nil:
		return true
	case !named:
		ok = c.conns.Take(1, cs.conns.Size())
	case c.open > 1:
		ok = c.conns.Take(1, cs.level)
	default:
		ok = cs.takeFirst(c)
	}
	if cs.tight() {
		select {
		case cs.scarce <- struct{}{}:
		default:
		}
	}
	return ok
}

// takeFirst takes a connection for c, which has none. Half of the last ones are for those
// who were not turned away lately: attackers who come again at once would take them all.
func (cs *Clients) takeFirst(c *client) bool {
	taken := cs.conns.Taken()
	if taken < cs.level {
		return c.conns.Take(1, cs.conns.Size())
	}
	now := time.Now()
	if (taken < cs.again || !cs.away.has(c.key, now)) && c.conns.Take(1, cs.conns.Size()) {
		return true
	}
	cs.away.add(c.key, now)
	return false
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
	if !k.unnamed {
		cs.away.add(k.client.key, time.Now())
	}
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
