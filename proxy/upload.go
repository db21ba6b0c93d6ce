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

// upload is a request's body on its way to an instance. The part that came with the
// head is sent with the head, and can be sent again. The transport pulls the rest while it
// waits for the answer: once, unless the body can be rewound.
type upload struct {
	body     Body
	policies *policy.List // the route's, for the trailers
	traced   bool         // the fields of the trace are serai's
	limit    int64        // bytes of the whole body, 0 for no limit
	begun    bool
	first    []byte      // the part that came with the head
	complete bool        // first is the whole body
	streams  bool        // the rest may be pulled by another goroutine
	consumed atomic.Bool // some of the rest was pulled, or cannot be pulled any more: see rewind

	// Counted by the transport until the attempt is over: the bytes that have come, and how
	// long it has waited for more.
	bytes  int64
	waited time.Duration
}

var (
	_ upstream.RequestBody = (*upload)(nil)
	_ upstream.Spliced     = (*upload)(nil)
)

// gather waits for a small body before a place on an instance is taken, so that a
// client that sends a byte a second holds none. If the body does not come, it answers
// and reports false.
func (p *Proxy) gather(x *Exchange) bool {
	if x.upload.begun || x.Head.Framing == wire.NoBody {
		return true
	}
	began := x.Now
	waited, err := x.Body.Gather()
	if waited {
		x.Now = time.Now()
		x.Gathered = x.Now.Sub(began)
		x.waited(WaitBody, began)
	}
	if err == nil {
		return true
	}
	p.answerFailure(x, x.explain(&upstream.Failure{Kind: upstream.FailedBody, Err: err}))
	return false
}

// startUpload takes the part of the body that has come. It does so once, however often
// the request is sent.
func (x *Exchange) startUpload() {
	u := &x.upload
	if u.begun {
		return
	}
	u.begun, u.body = true, x.requestBody()
	u.traced = x.tracer != nil
	u.takeFirst()
	x.BytesIn = u.bytes
}

// takeFirst takes the part that has come.
func (u *upload) takeFirst() {
	u.first = nil
	if u.body.Ready() {
		u.first, _ = u.body.Next()
	}
	u.bytes = int64(len(u.first))
	u.complete = u.body.Done()
}

// rewind makes the body begin again if the transport has pulled some of it, and reports
// whether all of it can be sent again. The transport pulls no more.
func (u *upload) rewind() bool {
	if !u.consumed.Load() {
		return true
	}
	from, can := u.body.(Rewinder)
	if !can || !from.Rewind() {
		return false
	}
	u.consumed.Store(false)
	u.takeFirst()
	return true
}

// Next returns the next bytes after the first part, which becomes invalid if there are
// any.
func (u *upload) Next() ([]byte, error) {
	if u.body.Done() {
		return nil, io.EOF
	}
	u.consumed.Store(true)
	if u.body.Ready() {
		data, err := u.body.Next()
		return data, u.count(len(data), err)
	}
	began := time.Now()
	data, err := u.body.Next()
	u.waited += time.Since(began)
	return data, u.count(len(data), err)
}

// count counts n bytes, and checks the limit.
func (u *upload) count(n int, err error) error {
	u.bytes += int64(n)
	if n > 0 && u.limit > 0 && u.bytes > u.limit {
		return wire.ErrBodyTooLong
	}
	return err
}

// Done reports whether the body has ended.
func (u *upload) Done() bool { return u.body.Done() }

// Trailers returns the request's trailers, without those that frame, route or
// authenticate a request (RFC 9110 section 6.5.1), those that a policy removes or sets,
// and those that name a trace where serai says in the head which it is: some servers merge
// trailers into the head.
func (u *upload) Trailers() []wire.Field {
	trailers := filterTrailers(u.body.Trailers())
	if u.traced {
		dropTraceFields(trailers)
	}
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

// Interrupt ends the body, because nobody needs the rest.
func (u *upload) Interrupt() {
	u.consumed.Store(true)
	u.body.Interrupt()
}

// Plain reports whether the client's bytes come over a plain socket.
func (u *upload) Plain() bool {
	from, ok := u.body.(upstream.Spliced)
	return ok && from.Plain()
}

// Pull moves the next bytes into a pipe.
func (u *upload) Pull(p *socket.Pipe) (int, error) {
	u.consumed.Store(true)
	began := time.Now()
	n, err := u.body.(upstream.Spliced).Pull(p)
	u.waited += time.Since(began)
	return n, u.count(n, err)
}

// endUpload records how much of the body came. The transport pulls no more.
func (x *Exchange) endUpload() {
	x.BytesIn = x.upload.bytes
	if x.calling.panicked {
		x.Reason = ReasonPanic.Code()
	}
}

// Uploading reports whether another goroutine may be reading the request's body.
func (x *Exchange) Uploading() bool { return x.upload.streams }
