package http1

import (
	"serai/front"
	"serai/proxy"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

var _ proxy.Tunneler = (*answer)(nil)

// Tunnel sends the 101 and returns the client's side. The connection ends with the
// tunnel.
func (a *answer) Tunnel(h *wire.ResponseHead) (upstream.Duplex, error) {
	c := a.conn
	a.close, a.ended = true, true
	// The request is logged after the tunnel has ended, so its head must not be in the
	// buffer that the tunnel releases. With a body it already has a buffer of its own.
	if c.session.body.head == nil {
		c.session.body.head = c.wire.Detach()
	}
	a.statusLine(h.Status, h.Reason)
	a.out = wire.AppendFields(a.out, h.Fields)
	a.out = append(a.out, "Connection: Upgrade\r\n\r\n"...)
	if err := a.Flush(); err != nil {
		return nil, err
	}
	return clientSide{socket.Duplex{Conn: c.wire}, c}, nil
}

// clientSide is the client's side of a tunnel.
type clientSide struct {
	socket.Duplex
	conn *conn
}

// Abort makes the connection end with a reset.
func (s clientSide) Abort() { s.conn.ending = front.Reset }
