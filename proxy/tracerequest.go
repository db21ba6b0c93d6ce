package proxy

import (
	"bytes"
	"net/netip"
)

// TraceRequest is what a trace says of the request and its answer. What the client sent is
// shortened.
type TraceRequest struct {
	Method, Host, Path, UserAgent string
	// Target is the path that the instances were asked for, without its query; empty
	// where none was.
	Target string
	// Protocol is the client's, such as HTTP/1.1; empty when it is not known.
	Protocol string
	// Secure says that the client speaks https, perhaps to a trusted proxy.
	Secure bool
	// Client is who sent the request, Peer the other end of the connection, Local serai's.
	Client      netip.Addr
	Peer, Local netip.AddrPort
	// Status is 0 where there was no answer, GRPC -1 where it has no status of gRPC. Reason is
	// serai's code, empty for none.
	Status, GRPC int
	Reason       string
	// Failed says that serai or an instance failed the request.
	Upgraded, Failed bool
	// Routed says that a route took the request, by its claim of RouteHost and RoutePath.
	Routed                                          bool
	Namespace, Service, Route, RouteHost, RoutePath string
	BytesIn, BytesOut                               int64
	Retries                                         int
}

// maxTraceValue bounds what a trace keeps of a value that a client sent, in bytes.
const maxTraceValue = 512

// describe fills in what is known at the end of the request.
func (x *Exchange) describe(r *Trace) {
	r.Begun, r.Ended, r.Span = x.Start, x.Now, r.spanID()
	for i := range r.Attempts {
		a := &r.Attempts[i]
		target := a.member.Endpoint.Target()
		a.Address, a.Alloc, a.Scheme, a.HTTP2 = target.Address, a.member.Alloc, "http", target.Scheme.HTTP2()
		if target.Scheme.Secure() {
			a.Scheme = "https"
		}
		if a.member = nil; !a.Ended.IsZero() {
			continue
		}
		if a.ended(x); x.Reason != ReasonPanic.Code() { // see endAttempt
			a.Status = x.Status
		}
		a.Reason = x.Reason
	}
	q := &r.Request
	*q = TraceRequest{
		Method: shortened(x.Head.Method), Host: shortened(x.Head.Host), Path: shortened(withoutQuery(x.Head.Path)), UserAgent: shortened(x.Header("user-agent")),
		Protocol: x.protocol(), Secure: x.OverHTTPS() || x.Secure, Client: x.Client, Peer: x.Peer, Local: x.Local, Status: x.Status, GRPC: -1, Reason: x.Reason,
		Upgraded: x.Upgraded, Failed: x.failed(), BytesIn: x.BytesIn, BytesOut: x.BytesOut, Retries: x.Retries,
	}
	if len(r.Attempts) > 0 {
		q.Target = shortened(withoutQuery(x.request.Target))
	}
	if status, ok := x.GRPCStatus(); ok {
		q.GRPC = status
	}
	if route := x.Route; route != nil {
		q.Routed, q.Namespace, q.Service, q.Route = true, route.Namespace, route.Service, route.Name
		q.RouteHost, q.RoutePath = route.Host, route.Path
	}
}

func shortened(b []byte) string { return string(b[:min(len(b), maxTraceValue)]) }

// withoutQuery is a target's path: the query may have secrets.
func withoutQuery(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte{'?'})
	return path
}

// Bytes returns about how many bytes a trace takes until it has been sent, with the spans
// that are made of it.
func (r *Trace) Bytes() int64 {
	const trace, span = 1024, 512
	q := &r.Request
	n := trace + span*r.Spans() + 2*(len(q.Method)+len(q.Host)+len(q.Path)+len(q.UserAgent)+len(q.Target)+len(q.RouteHost)+len(q.RoutePath)) + len(r.State)*r.Spans()
	return int64(n)
}

// Spans returns how many spans a trace has.
func (r *Trace) Spans() int {
	n := 1 + len(r.Waits) + len(r.Attempts)
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.Connected > 0 {
			n++
		}
		if a.FirstByte > 0 {
			n += 2
		}
	}
	return n
}
