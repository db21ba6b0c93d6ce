package front

import (
	"container/list"
	"crypto/tls"
	"errors"
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
// longer than an honest client needs makes room for the next one.
type handshakes struct {
	limit int // 0 for no limit

	mu      sync.Mutex
	running list.List // of handshake, the oldest first
	refused uint64    // refused because of the limit, or ended to make room
}

type handshake struct {
	conn  *Conn
	began time.Time
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
	h.running.Remove(c.handshake)
	c.handshake = nil
	c.Socket.Interrupt()
}

// begin counts the handshake of c, and reports whether it may be made.
func (h *handshakes) begin(c *Conn) bool {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit > 0 && h.running.Len() >= h.limit {
		h.refused++
		oldest := h.running.Front().Value.(handshake)
		if now.Sub(oldest.began) < slowHandshake {
			return false
		}
		h.interrupt(oldest.conn)
	}
	c.handshake = h.running.PushBack(handshake{c, now})
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
	h.running.Remove(c.handshake)
	c.handshake = nil
	return true
}

func (h *handshakes) count() (now int, refused uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running.Len(), h.refused
}
