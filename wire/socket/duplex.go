package socket

import "io"

// Duplex is a connection whose bytes are no messages any more: one side of a
// tunnel. What is buffered is read first, and no buffer is held in the wait for
// more.
type Duplex struct{ *Conn }

// Read reads what is buffered, or what comes.
func (d Duplex) Read(p []byte) (int, error) {
	if b := d.Buffered(); len(b) > 0 {
		n := copy(p, b)
		d.Discard(n)
		return n, nil
	}
	d.Release()
	return d.Conn.Read(p)
}

// CloseWrite closes the sending side. It fails with io.EOF where a connection has
// none of its own.
func (d Duplex) CloseWrite() error {
	if w, ok := d.Conn.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return io.EOF
}
