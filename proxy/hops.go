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

func appendHops(dst []byte, n int) []byte {
	dst = append(dst, "X-Serai-Hops: "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "\r\n"...)
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

// received is the value of a Via field for a message of HTTP/1.minor (RFC 9110
// section 7.6.3). It goes behind those that others have set.
func (x *Exchange) received(minor uint8) []byte {
	return append([]byte{'1', '.', '0' + minor, ' '}, x.via...)
}

// withVia adds the field to an answer.
func (x *Exchange) withVia(h *wire.ResponseHead) []wire.Field {
	if x.via == "" {
		return h.Fields
	}
	return append(h.Fields, wire.Field{Name: []byte("Via"), Value: x.received(h.Minor)})
}

// validVia reports whether a name may stand in Via: a token, as RFC 9110 has it
// for a pseudonym.
func validVia(name string) bool { return wire.IsToken(name) }
