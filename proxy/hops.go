package proxy

import (
	"strconv"

	"serai/wire"
)

// A request that returns to serai again and again is in a loop: an instance is serai
// itself, or a proxy that sends everything to serai. X-Serai-Hops counts how often a
// request has passed a serai; too many are answered 508. In a chain of gateways a request
// passes a few, so the field alone does not mean a loop. Via would tell the same, but
// makes some instances stop compressing (nginx's gzip_proxied), so it is only sent if the
// operator configures a name for it.

// maxHopsRead bounds the number that is read from the field, which clients may send, too.
const maxHopsRead = 1000

// parseHops parses the field's value. An invalid one counts as 0.
func parseHops(value []byte) int {
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0
		}
		n = min(n*10+int(c-'0'), maxHopsRead)
	}
	return n
}

// firstHop is the value for a request that has passed no serai before. Never modified.
var firstHop = []byte("1")

// hopsValue is the value of the field that is sent on.
func (x *Exchange) hopsValue() []byte {
	if x.hops == 0 {
		return firstHop
	}
	return x.values.Keep(strconv.AppendInt(x.values.Start(), int64(x.hops+1), 10))
}

// looped answers a request that has passed serai too often, and reports whether it did.
func (p *Proxy) looped(x *Exchange) bool {
	if x.hops < p.options.MaxHops {
		return false
	}
	e := &reasons[ReasonLoop]
	p.answerWith(x, e.Status, e.Code, "the request has passed serai "+strconv.Itoa(x.hops)+" times: an instance of this service leads back to serai")
	return true
}

// lastHop decrements Max-Forwards, and answers a request for which it is 0 (RFC 9110
// section 7.6.2). Only OPTIONS and TRACE have it; an invalid value is passed on.
func (p *Proxy) lastHop(x *Exchange) bool {
	trace := string(x.Head.Method) == "TRACE"
	if !trace && string(x.Head.Method) != "OPTIONS" {
		return false
	}
	for i := range x.Head.Fields {
		f := &x.Head.Fields[i]
		if !wire.EqualFold(f.Name, "max-forwards") {
			continue
		}
		left, ok := wire.ParseLength(f.Value) // digits alone, as there
		switch {
		case !ok:
		case left > 0:
			f.Value = strconv.AppendInt(f.Value[:0], left-1, 10) // a smaller number fits in its place
		case trace:
			p.answerWith(x, 501, ReasonMaxForwards.Code(), "TRACE is not answered here")
			return true
		default:
			p.answer(x, ReasonMaxForwards)
			return true
		}
	}
	return false
}

// viaField is a Via field for a message of HTTP/2, or of HTTP/1.minor if major is 0
// (RFC 9110 section 7.6.3). It follows those that others have set.
func (x *Exchange) viaField(major, minor uint8) wire.Field {
	if major == 2 {
		minor = 0
	}
	value := append(x.values.Start(), '0'+max(major, 1), '.', '0'+minor, ' ')
	return wire.Field{Name: nameVia, Value: x.values.Keep(append(value, x.via...))}
}

// validVia reports whether a name may be used in Via: RFC 9110 wants a token as a
// pseudonym.
func validVia(name string) bool { return wire.IsToken(name) }
