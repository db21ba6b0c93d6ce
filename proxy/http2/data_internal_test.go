package http2

import (
	"testing"

	"serai/front"
	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// TestWindowWithoutMemory: of a body for which there is no more memory, each byte is given
// back to the connection's window once, also of the part that had come before.
func TestWindowWithoutMemory(t *testing.T) {
	const window = 1 << 20
	var client memory.Client
	client.Join(memory.NewBudget(1)) // no memory for anything
	f := &front.Conn{}
	f.Memory = &client
	c := &conn{engine: &Engine{options: Options{ConnWindow: window}}, front: f}
	c.inWindow, c.lastID = window, 1
	s := newStream(c.engine)
	s.conn, s.id, s.declared, s.initial, s.inWindow = c, 1, -1, http2.InitialWindow, http2.InitialWindow
	c.streams = map[uint32]*stream{1: s}
	for _, n := range []int{socket.SmallBuffer - 100, 1000} {
		frame := http2.Frame{Header: http2.Header{Type: http2.Data, Stream: 1, Length: n}, Content: n}
		if err := c.beginData(&frame); err != nil {
			t.Fatal(err)
		}
		c.data(&frame, make([]byte, n))
	}
	if s.bodyErr != errOverloaded || s.unread != socket.SmallBuffer {
		t.Fatalf("%d bytes are kept, and the body's error is %v", s.unread, s.bodyErr)
	}
	s.release(s)
	if n := c.inWindow + c.credit; n != window {
		t.Errorf("a window of %d bytes has become one of %d", window, n)
	}
}
