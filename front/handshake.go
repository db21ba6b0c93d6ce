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

// shakeHands makes the TLS handshake, within its time. Where it reports that it
// failed, or no engine speaks the protocol, it says how the connection is to be
// closed.
func (c *Conn) shakeHands(t *tls.Conn) (how Ending, ok bool) {
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
		o.Handshaken(nil, err)
		o.Count(proxy.ReasonTLSHandshake)
		return how, false
	}
	state := t.ConnectionState()
	o.Handshaken(&state, nil)
	c.TLSVersion = state.Version
	c.ServerName, c.Protocol = servertls.HostName(state.ServerName), state.NegotiatedProtocol
	return Graceful, true
}

// limitHandshake makes the handshake fail after so long. A deadline does without
// the goroutine that a context has for each handshake.
func (c *Conn) limitHandshake(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drained {
		most = min(most, OpenTime)
	}
	c.Socket.SetDeadline(time.Now().Add(most))
	if c.Socket.Interrupted() { // it has made room meanwhile
		c.Socket.Interrupt()
	}
}

// plaintext returns what the engine whose protocol begins with first has to say
// on a port that speaks TLS, nil when that is none's.
func (o *Options) plaintext(first [5]byte) []byte {
	for _, e := range o.Engines {
		if answer := e.Plaintext(first); answer != nil {
			return answer
		}
	}
	return nil
}

// handshakes bounds the TLS handshakes that are under way at once. Whoever opens
// connections and says nothing could use the bound up for everybody else, at
// the rate of the bound a handshake's time: so once it is reached, one that takes
// longer than a client in good faith needs makes room for the next.
type handshakes struct {
	limit int // 0 for none

	mu      sync.Mutex
	under   list.List // handshake, the oldest first
	refused uint64    // because of the limit, or to make room
}

type handshake struct {
	conn  *Conn
	began time.Time
}

// slowHandshake is how long a handshake has for sure: a few round trips around
// the world, and one packet that is lost.
const slowHandshake = 2 * time.Second

// begin counts the handshake of c in, and reports whether it may be made.
func (h *handshakes) begin(c *Conn) bool {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit > 0 && h.under.Len() >= h.limit {
		h.refused++
		oldest := h.under.Front().Value.(handshake)
		if now.Sub(oldest.began) < slowHandshake {
			return false
		}
		h.under.Remove(oldest.conn.handshake)
		oldest.conn.handshake = nil
		oldest.conn.Socket.Interrupt()
	}
	c.handshake = h.under.PushBack(handshake{c, now})
	return true
}

// end counts it out when it is over, and reports whether it was not made to give
// way.
func (h *handshakes) end(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.handshake == nil {
		return false
	}
	h.under.Remove(c.handshake)
	c.handshake = nil
	return true
}

func (h *handshakes) count() (now int, refused uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.under.Len(), h.refused
}
