package proxy

import (
	"errors"

	"serai/upstream"
	"serai/wire"
)

// caller is what a transport sees of the exchange.
type caller struct {
	proxy *Proxy
	x     *Exchange
	// panicked says that the goroutine that sent the body has panicked. Only the
	// transport may use it until the attempt is over.
	panicked bool
}

var _ upstream.Caller = (*caller)(nil)

// Hold makes the exchange wait for s, and reports whether its client is still there.
func (c *caller) Hold(s upstream.Stream) bool {
	c.x.upload.streams = !c.x.upload.complete
	return c.x.holdStream(s)
}

// Interim passes a 1xx answer on, unless the client speaks HTTP/1.0.
func (c *caller) Interim(h *wire.ResponseHead) error {
	dropOwn(h)
	c.x.Now = c.x.answer.Now
	if c.x.Head.Minor == 0 {
		return nil
	}
	return c.x.Responder.Interim(h)
}

// Panicked reports a panic of the goroutine that sends the body.
func (c *caller) Panicked(cause any) error {
	c.proxy.Panicked(cause, c.x)
	c.panicked = true
	return errPanicked
}

// errPanicked ends an upload after its goroutine has panicked.
var errPanicked = errors.New("serai panicked while it sent the body")
