package socket

import (
	"crypto/tls"
	"net"
)

// TLSClient is tls.Client, for a connection on which Conn.Reusable can see what crypto/tls has
// read from the socket and nobody from crypto/tls: the records that came in one segment with the
// last one that was wanted.
func TLSClient(c net.Conn, config *tls.Config) *tls.Conn {
	return tls.Client(&dialled{Conn: c}, config)
}

// dialled is the connection below TLS towards a server.
type dialled struct {
	net.Conn
	records
	shut bool // nothing is read from the socket
}

// NetConn returns the connection below.
func (d *dialled) NetConn() net.Conn { return d.Conn }

// Read implements net.Conn.
func (d *dialled) Read(p []byte) (int, error) {
	if d.shut {
		return 0, errNotYet
	}
	n, err := d.Conn.Read(p)
	d.follow(p[:n])
	return n, err
}

// tlsQuiet reports whether crypto/tls holds nothing that could be read from it now or later,
// in each of the layers above the socket: nil of them without TLS.
func (c *Conn) tlsQuiet() bool {
	for nc := c.Conn; ; {
		t, ok := nc.(*tls.Conn)
		if !ok {
			return true
		}
		d, ok := t.NetConn().(*dialled)
		if !ok {
			return false // it cannot be known
		}
		d.shut = true
		n, err := t.Read(c.first[:])
		d.shut = false
		if n > 0 || err != errNotYet || d.inside() {
			return false
		}
		nc = d.Conn
	}
}
