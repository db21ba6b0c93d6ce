package proxy

import (
	"fmt"
	"runtime/debug"

	"serai/upstream"
)

// A panic while a request runs is a bug that must not stop the node: it is counted and
// logged with its stack, and that one request is cut off. A panic anywhere else ends the
// process.

// contain is deferred by Serve. It releases what the request held.
func (p *Proxy) contain(x *Exchange) {
	cause := recover()
	if cause == nil {
		return
	}
	p.Panicked(cause, x)
	x.abandon()
	x.endTransform()
	if x.picked {
		x.endPick(upstream.Outcome{})
	}
	x.cut(ReasonPanic)
	if x.observed {
		x.observe()
	}
	if !x.logged {
		p.log(x)
	}
}

// Panicked logs a panic that was recovered while x was served. The function that
// recovered must call it, because it logs the current stack.
func (p *Proxy) Panicked(cause any, x *Exchange) {
	p.options.Logger.Error("a request made serai panic; it was cut, the others go on: please report this",
		"cause", fmt.Sprint(cause), "host", string(x.Head.Host), "method", string(x.Head.Method), "path", string(x.Head.Path),
		"client", x.Client, "stack", string(debug.Stack()))
}

// ConnectionPanicked logs and counts a panic in code that serves all requests of a
// connection, which has ended with them. The function that recovered must call it. Who
// is the client or the instance at the other end.
func (p *Proxy) ConnectionPanicked(cause any, who string) {
	p.options.Logger.Error("a connection made serai panic; it was cut with its requests, the others go on: please report this",
		"cause", fmt.Sprint(cause), "peer", who, "stack", string(debug.Stack()))
	p.Count(ReasonPanic)
}

// abandon ends the current attempt and its upload.
func (x *Exchange) abandon() {
	x.waiting.Clear()
	x.mu.Lock()
	s := x.stream
	x.stream = nil
	x.mu.Unlock()
	if s != nil {
		s.End(false)
	}
}
