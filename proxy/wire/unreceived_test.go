//go:build linux

package wire_test

import (
	"net"
	"testing"

	"serai/proxy/wire"
)

// TestUnreceived asks the kernel what became of a request whose connection
// broke: one that came too late for the peer to see, and one that it read.
func TestUnreceived(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, read := range []bool{false, true} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn := wire.NewConn(c)
		// A first exchange, so that bytes have gone both ways before.
		conn.Write([]byte("first"))
		peer.Read(make([]byte, 16))
		peer.Write([]byte("answer"))
		if err := conn.Fill(); err != nil {
			t.Fatal(err)
		}
		conn.Discard(len(conn.Buffered()))
		request := []byte("POST / HTTP/1.1\r\n\r\n")
		if read {
			conn.Write(request)
			peer.Read(make([]byte, 64))
			peer.Close()
		} else {
			peer.Close()
			conn.Write(request)
		}
		if err := conn.Fill(); err == nil {
			t.Fatal("the connection was expected to break")
		}
		if got := conn.Unreceived(len(request)); got == read {
			t.Errorf("a request that the peer read=%v: unreceived=%v", read, got)
		}
		conn.Close()
	}
}
