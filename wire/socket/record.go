package socket

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"time"
)

// NewTLSListener is tls.NewListener, for connections on which a Conn sees that
// a TLS record has begun and its rest is late.
func NewTLSListener(l net.Listener, config *tls.Config) net.Listener {
	return &tlsListener{l, config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&recordConn{Conn: c}, l.config), nil
}

// recordConn is the connection below TLS. It follows where records begin and
// end (RFC 8446 section 5.1): nothing else tells that one has come in part,
// while the reader above waits for it whole.
type recordConn struct {
	net.Conn
	header [recordHeader]byte
	got    int // bytes of the header
	left   int // bytes of the record's content that are still to come

	began time.Time // when the record that has come in part did begin
	conn  *Conn     // whose wait ends when the rest is late, nil when it does not
	rest  time.Duration
}

const recordHeader = 5

// NetConn returns the connection below.
func (r *recordConn) NetConn() net.Conn { return r.Conn }

func (r *recordConn) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	inside := r.inside()
	r.follow(p[:n])
	if r.inside() && (!inside || r.began.IsZero()) {
		r.began = time.Now()
		r.limit()
	}
	return n, err
}

// inside reports whether a record has come in part.
func (r *recordConn) inside() bool { return r.got > 0 }

// follow goes on through the records in b.
func (r *recordConn) follow(b []byte) {
	for len(b) > 0 {
		if r.got < recordHeader {
			n := copy(r.header[r.got:], b)
			r.got, b = r.got+n, b[n:]
			if r.got < recordHeader {
				return
			}
			r.left = int(binary.BigEndian.Uint16(r.header[3:]))
		}
		n := min(r.left, len(b))
		if r.left, b = r.left-n, b[n:]; r.left == 0 {
			r.got, r.began = 0, time.Time{}
		}
	}
}

// await makes the wait of c for a record end when one that has begun does not
// come whole within rest.
func (r *recordConn) await(c *Conn, rest time.Duration) {
	r.conn, r.rest = c, rest
	r.limit()
}

func (r *recordConn) limit() {
	if r.conn != nil && r.inside() {
		r.conn.readBefore(r.began.Add(r.rest))
	}
}
