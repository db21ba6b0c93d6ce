package front

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"serai/proxy"
	servertls "serai/tls"
)

// handshakeTLS makes the TLS handshake, within its time limit. If that fails, how says
// how to close the connection.
func (c *Conn) handshakeTLS(t *tls.Conn) (how Ending, ok bool) {
	o := &c.server.options
	c.limitHandshake(o.HandshakeTimeout)
	err := t.Handshake()
	if !c.server.handshakes.end(c) && err == nil {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		var plain tls.RecordHeaderError
		if errors.As(err, &plain) && plain.Conn != nil {
			if answer := o.plaintext(plain.RecordHeader); answer != nil {
				plain.Conn.Write(answer)
				how = Lingering
			}
		}
		o.OnHandshake(nil, err)
		if BeginsProxyHeader(plain.RecordHeader[:]) {
			o.Count(proxy.ReasonProxyHeader)
		} else {
			o.Count(proxy.ReasonTLSHandshake)
		}
		return how, false
	}
	state := t.ConnectionState()
	o.OnHandshake(&state, nil)
	c.TLSVersion = state.Version
	c.ServerName, c.Protocol = servertls.HostName(state.ServerName), state.NegotiatedProtocol
	return Graceful, true
}

// limitHandshake sets the time limit of the handshake. A context would cost a goroutine
// for each handshake; a deadline does not.
func (c *Conn) limitHandshake(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drained {
		most = min(most, OpenTime)
	}
	c.Socket.SetDeadline(time.Now().Add(most))
	if c.Socket.Interrupted() { // it was told meanwhile to make room
		c.Socket.Interrupt()
	}
}

// plaintext returns the answer of the engine whose protocol begins with first, nil when
// there is none.
func (o *Options) plaintext(first [5]byte) []byte {
	for _, e := range o.Engines {
		if answer := e.Plaintext(first); answer != nil {
			return answer
		}
	}
	return nil
}

// handshakes bounds the TLS handshakes in progress. A client that opens connections and
// sends nothing could use up the limit for all others, with as many connections as the
// limit in each handshake timeout. So once the limit is reached, a handshake that takes
// longer than an honest client needs makes room for the next one, and the oldest of a
// client with more than its share makes room for one of a client with less.
type handshakes struct {
	limit int // 0 for no limit

	mu       sync.Mutex
	running  list.List            // of handshake, the oldest first
	byClient map[netip.Prefix]int // how many of them, of clients that are known
	known    int                  // the sum of these
	refused  uint64               // refused because of the limit, or ended to make room
}

type handshake struct {
	conn   *Conn
	client netip.Prefix // the zero Prefix where a PROXY header is to name it
	began  time.Time
}

// slowHandshake is the time that every handshake gets: enough for a few round trips
// around the world, and for one lost packet.
const slowHandshake = 2 * time.Second

// makeRoom ends the handshake of c if it is slow, and others need the place of its
// connection.
func (h *handshakes) makeRoom(c *Conn, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.handshake != nil && now.Sub(c.handshake.Value.(handshake).began) >= slowHandshake && c.MakesPlace() {
		h.interrupt(c)
	}
}

// interrupt makes a handshake fail. h.mu is held.
func (h *handshakes) interrupt(c *Conn) {
	h.remove(c)
	c.Socket.Interrupt()
}

// remove uncounts the handshake of c. h.mu is held.
func (h *handshakes) remove(c *Conn) {
	client := h.running.Remove(c.handshake).(handshake).client
	c.handshake = nil
	if !client.IsValid() {
		return
	}
	h.known--
	if h.byClient[client]--; h.byClient[client] == 0 {
		delete(h.byClient, client)
	}
}

// add counts a handshake. h.mu is held.
func (h *handshakes) add(n handshake) {
	n.conn.handshake = h.running.PushBack(n)
	if !n.client.IsValid() {
		return
	}
	if h.byClient == nil {
		h.byClient = make(map[netip.Prefix]int)
	}
	h.known++
	h.byClient[n.client]++
}

// yielding returns the connection whose handshake makes room for one more of a client, nil
// if none does: the oldest if it is slow, else the oldest of a client with more than its
// share. h.mu is held.
func (h *handshakes) yielding(client netip.Prefix, now time.Time) *Conn {
	if oldest := h.running.Front().Value.(handshake); now.Sub(oldest.began) >= slowHandshake {
		return oldest.conn
	}
	has, clients := h.byClient[client], len(h.byClient)
	if has == 0 {
		clients++
	}
	share := h.known / clients
	if !client.IsValid() || has >= share {
		return nil
	}
	for e := h.running.Front(); e != nil; e = e.Next() {
		if n := e.Value.(handshake); h.byClient[n.client] > share {
			return n.conn
		}
	}
	return nil
}

// begin counts the handshake of c, and reports whether it may be made.
func (h *handshakes) begin(c *Conn) bool {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := handshake{conn: c, began: now}
	if c.clientKnown {
		n.client = c.own.client.key
	}
	if h.limit > 0 && h.running.Len() >= h.limit {
		h.refused++
		yields := h.yielding(n.client, now)
		if yields == nil {
			return false
		}
		h.interrupt(yields)
	}
	h.add(n)
	return true
}

// end undoes begin when the handshake is over, and reports false if the handshake had
// to make room.
func (h *handshakes) end(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.handshake == nil {
		return false
	}
	h.remove(c)
	return true
}

func (h *handshakes) count() (now int, refused uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running.Len(), h.refused
}
