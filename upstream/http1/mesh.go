package http1

import (
	"errors"
	"io"
	"net"
	"time"

	"serai/upstream"
)

// verdictWithin bounds the wait for what a sidecar has said before it closed a connection on
// which a write has failed.
const verdictWithin = 100 * time.Millisecond

// refused is the Failure for a new connection in Consul's mesh that ended before an answer
// began. Where it is a sidecar that has refused serai's certificate, the instance has got
// nothing: with TLS 1.3 that comes in place of the answer.
func (c *conn) refused(err error) *upstream.Failure {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "write" {
		c.ReadWithin(time.Now(), verdictWithin)
		var first [1]byte
		if _, said := c.Read(first[:]); said != nil && said != io.EOF {
			err = said
		}
	}
	denied, unprocessed := c.transport.endpoint.Denied(err)
	switch {
	case denied == nil:
		return &upstream.Failure{Kind: upstream.FailedClosed, Processing: upstream.Unknown, Err: err}
	case unprocessed:
		return &upstream.Failure{Kind: upstream.FailedDenied, Processing: upstream.Refused, Err: denied}
	}
	return &upstream.Failure{Kind: upstream.FailedDenied, Processing: upstream.Unknown, Err: denied}
}
