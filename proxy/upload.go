package proxy

import (
	"io"
	"sync/atomic"
	"time"

	"serai/policy"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// upload is a request's body on its way. What has come with the head is sent
// with the head and can be sent again; the rest is pulled by the transport, once,
// while the answer is awaited.
type upload struct {
	body     Body
	policies *policy.List // of the route, for the trailers
	limit    int64        // of the whole body in bytes, 0 for none
	begun    bool
	first    []byte      // what came with the head
	complete bool        // there is no more
	streams  bool        // the rest may be pulled by another goroutine
	taken    atomic.Bool // some of the rest was pulled, or can not be any more

	bytes int64 // that have come; the transport's to count until the attempt is over
}

var (
	_ upstream.RequestBody = (*upload)(nil)
	_ upstream.Spliced     = (*upload)(nil)
)

// gather waits for a small body before a place at an instance is taken for it: who
// sends a byte a second is not to hold one. It answers, and reports false, when
// the body does not come.
func (p *Proxy) gather(x *Exchange) bool {
	if x.upload.begun || x.Head.Framing == wire.NoBody {
		return true
	}
	began := x.Now
	err := x.Body.Gather()
	x.Now = time.Now()
	x.Gathered = x.Now.Sub(began)
	if err == nil {
		return true
	}
	p.answerFailure(x, x.explain(&upstream.Failure{Kind: upstream.FailedBody, Err: err}))
	return false
}

// startUpload takes what has come of the body. It does so once, however often
// the request is sent.
func (x *Exchange) startUpload() {
	u := &x.upload
	if u.begun {
		return
	}
	u.begun, u.body, u.limit = true, x.requestBody(), x.Route.Options.MaxBody
	if u.body.Ready() {
		u.first, _ = u.body.Next()
		x.BytesIn = int64(len(u.first))
	}
	u.bytes = x.BytesIn
	u.complete = u.body.Done()
}

// Next returns the next bytes behind the first, which are gone then; where there are none
// they stay.
func (u *upload) Next() ([]byte, error) {
	if u.body.Done() {
		return nil, io.EOF
	}
	u.taken.Store(true)
	data, err := u.body.Next()
	return data, u.count(len(data), err)
}

// count counts n bytes, and holds them to the limit.
func (u *upload) count(n int, err error) error {
	u.bytes += int64(n)
	if n > 0 && u.limit > 0 && u.bytes > u.limit {
		return wire.ErrBodyTooLong
	}
	return err
}

// Done reports whether the body has come to its end.
func (u *upload) Done() bool { return u.body.Done() }

// Trailers returns the request's trailers without those that would frame, route or
// vouch for the request (RFC 9110 section 6.5.1), or are what a policy removes or says.
func (u *upload) Trailers() []wire.Field {
	trailers := filterTrailers(u.body.Trailers())
	u.policies.Trailers(policy.RequestMessage, trailers)
	return trailers
}

func filterTrailers(fields []wire.Field) []wire.Field {
	for i := range fields {
		if !fields[i].Kind.InTrailers() {
			fields[i].Kind = wire.Dropped
		}
	}
	return fields
}

// Interrupt ends the body: nobody wants the rest.
func (u *upload) Interrupt() {
	u.taken.Store(true)
	u.body.Interrupt()
}

// Plain reports whether the client's bytes come over a plain socket.
func (u *upload) Plain() bool {
	from, ok := u.body.(upstream.Spliced)
	return ok && from.Plain()
}

// Pull moves the next bytes into a pipe.
func (u *upload) Pull(p *socket.Pipe) (int, error) {
	u.taken.Store(true)
	n, err := u.body.(upstream.Spliced).Pull(p)
	return n, u.count(n, err)
}

// uploaded notes how far the body came. The transport pulls no more.
func (x *Exchange) uploaded() {
	x.BytesIn = x.upload.bytes
	if x.calling.panicked {
		x.Reason = ReasonPanic.Code()
	}
}

// Uploading reports whether another goroutine may be reading the request's body.
func (x *Exchange) Uploading() bool { return x.upload.streams }
