package http2

import "serai/wire/http2"

// nobodys is a block that nobody wants. It is decoded for the sake of the table.
type nobodys struct{}

func (nobodys) Add(*http2.Entry) {}

// beginTrailers takes those of a stream. Most connections never have any.
func (c *conn) beginTrailers(id uint32) {
	if c.trailers == nil {
		c.trailers = &http2.Section{Limits: c.engine.options.Limits, Room: c.trailersRoom}
	}
	c.trailers.Reset()
	c.target, c.trailersOf = c.trailers, id
}

// trailersRoom takes memory for trailers that are larger than most, and for what the stream
// keeps of them. It has it for as long as the stream.
func (c *conn) trailersRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stream(c.trailersOf)
	return s != nil && !s.gone && s.largeHead()
}

// endTrailers lets go of what they took.
func (c *conn) endTrailers() {
	c.trailers.Reset()
	c.trailersOf = 0
}
