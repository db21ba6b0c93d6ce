package proxy

import (
	"strconv"
	"time"

	"serai/upstream"
	"serai/wire"
)

// gRPC clients read the status from the trailers, and nothing else of serai's own answers.

// IsGRPC reports whether a message belongs to gRPC.
func IsGRPC(fields []wire.Field) bool { return isOf(fields, grpcMedia) }

// speaksGRPC reports whether the client speaks gRPC. A gRPC-Web client does not,
// although its request is forwarded as gRPC.
func (x *Exchange) speaksGRPC() bool {
	return x.Head.Major == 2 && !x.web.on && IsGRPC(x.Head.Fields)
}

// ofGRPC reports whether the request is a gRPC call, from a client of gRPC or gRPC-Web.
func (x *Exchange) ofGRPC() bool { return x.web.on || x.speaksGRPC() }

// gRPC statuses.
const (
	grpcDeadlineExceeded = 4
	grpcUnavailable      = 14
	grpcLast             = 16 // UNAUTHENTICATED, the highest
)

// GRPCCut returns the trailers for a gRPC answer that is cut off, nil for other
// answers. They let the client try again, unless its deadline has passed. The first one
// is the content-type for an answer that has not begun, and thus consists of trailers
// only.
func (x *Exchange) GRPCCut(begun bool) []wire.Field {
	if !x.speaksGRPC() {
		return nil
	}
	if begun {
		return x.cutTrailers()
	}
	return append([]wire.Field{grpcType}, x.cutTrailers()...)
}

// cutTrailers are the trailers for an answer that is cut off.
func (x *Exchange) cutTrailers() []wire.Field {
	status, message := grpcUnavailable, "the answer was cut"
	if x.pastDeadline() {
		status, message = grpcDeadlineExceeded, "the answer was cut since its time was over"
	}
	x.grpc = uint8(status) + 1
	return []wire.Field{field("grpc-status", strconv.Itoa(status)), field("grpc-message", message)}
}

var grpcType = field("content-type", "application/grpc")

// pastDeadline reports whether the client's deadline has passed. An instance that
// measures it, too, may end the stream in its own way.
func (x *Exchange) pastDeadline() bool {
	d, ok := grpcTimeout(x.Header("grpc-timeout"))
	return ok && time.Since(x.Start) >= d
}

// grpcStatus is the gRPC status for the HTTP status of an answer of serai itself.
func (x *Exchange) grpcStatus(status int) int {
	s := grpcStatus(status)
	if s == grpcUnavailable && x.pastDeadline() {
		return grpcDeadlineExceeded
	}
	return s
}

func grpcStatus(status int) int {
	switch status {
	case 400, 414:
		return 13 // internal
	case 401:
		return 16 // unauthenticated
	case 403:
		return 7 // permission denied
	case 404:
		return 12 // unimplemented
	case 408, 504:
		return grpcDeadlineExceeded
	case 413, 431:
		return 8 // resource exhausted
	case 421, 429, 502, 503:
		return grpcUnavailable
	}
	return 2 // unknown
}

// sendGRPC answers with trailers only, and with these fields.
func (x *Exchange) sendGRPC(status int, reason, detail string, more ...wire.Field) {
	h := x.grpcRefusal(status, reason, detail)
	h.Fields = append(h.Fields, more...)
	x.applyAnswer(h, true)
	x.Status = status
	if x.Responder.Head(h) == nil {
		x.Responder.Finish(nil)
	}
}

// grpcRefusal is a refusal with trailers alone. Its status is 200, and a cache that does not
// know gRPC could keep it for a page of that path.
func (x *Exchange) grpcRefusal(status int, reason, detail string) *wire.ResponseHead {
	code := x.grpcStatus(status)
	x.grpc = uint8(code) + 1
	return &wire.ResponseHead{Status: 200, Minor: 1, Framing: wire.NoBody, KeepAlive: true, Fields: []wire.Field{
		grpcType, field("grpc-status", strconv.Itoa(code)), field("grpc-message", grpcMessage(detail+" ("+reason+")")), field("X-Serai-Reason", reason), field("Cache-Control", "no-store"),
	}}
}

// grpcMessage percent-encodes a message for grpc-message.
func grpcMessage(s string) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// answerTimeout bounds the wait for an answer: the route's timeout, and a gRPC client's
// deadline.
func (x *Exchange) answerTimeout() time.Duration {
	route := x.Route.Options.Timeout
	if !x.ofGRPC() {
		return route
	}
	if d, ok := grpcTimeout(x.Header("grpc-timeout")); ok {
		left := d - x.Now.Sub(x.Start)
		return min(route, max(left, time.Millisecond))
	}
	return route
}

// answerIdle bounds each wait for more of an answer. A gRPC stream may be silent for as
// long as a tunnel, for example one that watches something. PINGs show whether its
// instance is still there.
func (p *Proxy) answerIdle(x *Exchange) time.Duration {
	if x.ofGRPC() {
		return max(x.Route.Options.BodyIdle, p.options.TunnelIdle)
	}
	return x.Route.Options.BodyIdle
}

// grpcTimeout parses grpc-timeout: up to eight digits and a unit.
func grpcTimeout(v []byte) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[v[len(v)-1]]
	n, err := strconv.ParseUint(string(v[:len(v)-1]), 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	const longest = 1000 * time.Hour
	if time.Duration(n) > longest/unit {
		return longest, true
	}
	return time.Duration(n) * unit, true
}

// noteGRPC records the status of a gRPC answer, which is in its trailers, or in its
// head when there is nothing else.
func (x *Exchange) noteGRPC(fields []wire.Field) {
	for i := range fields {
		if f := &fields[i]; wire.EqualFold(f.Name, "grpc-status") {
			if n, err := strconv.ParseUint(string(f.Value), 10, 8); err == nil && n <= grpcLast {
				x.grpc = uint8(n) + 1
			}
			return
		}
	}
}

// retriesUnavailable reports whether another instance is asked because the answer says
// only that the instance is unavailable. The route must allow to repeat requests, and
// the request must have arrived completely: an upload that goes on could take more of
// the body before it is stopped.
func (p *Proxy) retriesUnavailable(x *Exchange) bool {
	h := &x.answer.Head
	return x.Route.Options.RetryPost && h.Status == 200 && h.Size == 0 && h.Framing != wire.Chunked && x.ofGRPC() && x.upload.complete &&
		string(wire.Get(h.Fields, "grpc-status")) == "14" && p.mayRetry(x, upstream.Unknown, false)
}

// GRPCStatus returns the status of a gRPC answer, if it has one.
func (x *Exchange) GRPCStatus() (status int, ok bool) { return int(x.grpc) - 1, x.grpc > 0 }
