package http1

import "serai/upstream"

// refused is the Failure for a new connection in Consul's mesh that ended before an answer
// began. Where it is a sidecar that has refused serai's certificate, the instance has got
// nothing: with TLS 1.3 that comes in place of the answer.
func (c *conn) refused(err error) *upstream.Failure {
	denied, unprocessed := c.transport.endpoint.Denied(err)
	switch {
	case denied == nil:
		return &upstream.Failure{Kind: upstream.FailedClosed, Processing: upstream.Unknown, Err: err}
	case unprocessed:
		return &upstream.Failure{Kind: upstream.FailedDenied, Processing: upstream.Refused, Err: denied}
	}
	return &upstream.Failure{Kind: upstream.FailedDenied, Processing: upstream.Unknown, Err: denied}
}
