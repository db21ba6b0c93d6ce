package http2

import "serai/front"

// Fragile is an Engine whose connections panic while they read a head that is large.
type Fragile struct{ *Engine }

// Open takes a connection over.
func (e Fragile) Open(c *front.Conn) front.Session {
	s := e.Engine.Open(c)
	s.(*conn).decoder.Room = func() bool { panic("planted") }
	return s
}
