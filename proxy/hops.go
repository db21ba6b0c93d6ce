package proxy

import (
	"strconv"

	"serai/wire"
)

// A request that comes back to serai again and again is in a loop: an instance
// that is serai itself, or a proxy that sends everything there. X-Serai-Hops
// counts how often a request has passed a serai; what has done so too often is
// answered 508. A chain of gateways passes a few times, so that the field alone is
// no loop. Via would tell the same, but makes some instances stop compressing
// (nginx's gzip_proxied): it is only sent where the operator gives a name for it.

// mostHops bounds what is believed of the field, which a client may send too.
const mostHops = 1000

// parseHops reads the field's value. What is no number counts as none.
func parseHops(value []byte) int {
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0
		}
		n = min(n*10+int(c-'0'), mostHops)
	}
	return n
}

// hopsField is the field as sent on.
func (x *Exchange) hopsField() wire.Field {
	value := x.values.Keep(strconv.AppendInt(x.values.Start(), int64(x.hops+1), 10))
	return wire.Field{Name: nameHops, Value: value, Kind: wire.XSeraiHops}
}

// looped answers a request that has passed serai too often.
func (p *Proxy) looped(x *Exchange) bool {
	if x.hops < p.options.MaxHops {
		return false
	}
	e := &reasons[ReasonLoop]
	p.answerWith(x, e.Status, e.Code, "the request has passed serai "+strconv.Itoa(x.hops)+" times: an instance of this service leads back to serai")
	return true
}

// lastHop counts Max-Forwards down, and answers the request that is to go no further
// (RFC 9110 section 7.6.2). It is about OPTIONS and TRACE alone; what is no number
// is not ours to judge.
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
			f.Value = strconv.AppendInt(f.Value[:0], left-1, 10) // it has room where the old one was
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

// viaField is a Via field for a message of HTTP/2, or of HTTP/1.minor where major is
// 0 (RFC 9110 section 7.6.3). It goes behind those that others have set.
func (x *Exchange) viaField(major, minor uint8) wire.Field {
	if major == 2 {
		minor = 0
	}
	value := append(x.values.Start(), '0'+max(major, 1), '.', '0'+minor, ' ')
	return wire.Field{Name: nameVia, Value: x.values.Keep(append(value, x.via...))}
}

// validVia reports whether a name may stand in Via: a token, as RFC 9110 has it
// for a pseudonym.
func validVia(name string) bool { return wire.IsToken(name) }
