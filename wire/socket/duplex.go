package socket

import "io"

// Duplex is a connection that no longer carries messages: one side of a tunnel. It
// reads what is buffered first, and holds no buffer while it waits for more.
type Duplex struct{ *Conn }

// Read reads what is buffered, or what arrives.
func (d Duplex) Read(p []byte) (int, error) {
	if b := d.Buffered(); len(b) > 0 {
		n := copy(p, b)
		d.Discard(n)
		return n, nil
	}
	d.Release()
	return d.Conn.Read(p)
}

// CloseWrite closes the sending side. It fails with io.EOF if the connection cannot do
// that.
func (d Duplex) CloseWrite() error {
	if w, ok := d.Conn.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return io.EOF
}
