package proxy

import (
	"encoding/binary"
	"math/rand/v2"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// forwarding is the state of an exchange on its way to an instance.
type forwarding struct {
	query         router.Query
	trusted       *trustedFields // fields of the peer that are trusted; nil for none
	clientHidden  bool           // a trusted proxy names its client, but not by an address
	proto         proto          // of the client
	ip            [16]byte
	takesTrailers bool // the client accepts trailers
	tried         upstream.Tried
	logged        bool     // Options.Log was called
	observed      bool     // the route's statistics count the request as in flight
	picked        bool     // the request has a place at Member
	excused       bool     // that the answer was cut short is not the instance's fault: see patience.go
	repeats       int      // attempts that the retries tag limits
	budgeted      bool     // the request has a place in the route's budget of retries
	hops          int      // how often the request has passed a serai before
	via           string   // the name that serai gives itself in Via, empty for none
	identified    bool     // the client sent an ID
	requestID     [16]byte // otherwise the ID that serai made
	request       wire.OutgoingRequest
	values        wire.Values // of fields that are made for the request and the answer
	phases        phases
	upload        upload
	attempted     upstream.Request // the current attempt
	answer        upstream.Answer
	calling       caller
	web           web
	transforms    transforms
	prepared      bool // fields that are not sent on are marked
	admitted      bool // the policies of Route that may answer have admitted the request
	own           bool // it is a request of serai itself: see ownrequest.go
	verbatim      bool // the fields are sent unchanged
	asking
	tracing
	unsendable string // why a policy refused to forward the request, empty for not
}

// reset prepares for the next request. Query, request, attempted and the parts of phases are
// made anew before each use.
func (f *forwarding) reset() {
	f.trusted, f.proto, f.takesTrailers = nil, 0, false
	f.clientHidden = false
	f.logged, f.observed, f.picked, f.excused = false, false, false, false
	f.tried, f.repeats, f.budgeted, f.hops = upstream.Tried{}, 0, false, 0
	f.identified, f.requestID, f.unsendable = false, [16]byte{}, ""
	f.upload, f.calling, f.answer.Stream = upload{}, caller{}, nil
	f.web, f.transforms, f.prepared, f.admitted = web{}, transforms{}, false, false
	f.asking.reset()
	f.values.Reset()
}

// prepare marks the request fields that are not sent on: those of the connection, those
// that Connection names, those that serai sets itself, and fields that look like these
// (RFC 9110 section 7.6.1).
func (x *Exchange) prepare() {
	x.prepared = true
	fields := x.Head.Fields
	identified := false
	for i := range fields {
		switch f := &fields[i]; f.Kind {
		case wire.Other, wire.ContentLength, wire.Cookie, wire.Date, wire.HeadOnly, wire.XSeraiReason:
		case wire.Trailer:
			if !wire.OnlyTrailers(f.Value) {
				f.Kind = wire.Dropped
			}
		case wire.Connection:
			wire.DropNamed(fields, f.Value)
			f.Kind = wire.Dropped
		case wire.Expect:
			if !x.Head.Continue || len(f.Value) == 0 {
				f.Kind = wire.Dropped
			}
		case wire.TE:
			// RFC 9110 section 10.1.4: transfer codings concern only the client and
			// serai, but trailers come from the instance.
			x.takesTrailers = x.takesTrailers || x.Head.Minor == 1 && wire.HasToken(f.Value, "trailers")
			f.Kind = wire.Dropped
		case wire.XRequestID:
			if identified || !goodID(f.Value) {
				f.Kind = wire.Dropped
			}
			identified = identified || f.Kind != wire.Dropped
		case wire.XSeraiHops:
			x.hops = max(x.hops, parseHops(f.Value))
			f.Kind = wire.Dropped
		case wire.Forwarded, wire.XForwardedFor, wire.XForwardedHost, wire.XForwardedPort, wire.XForwardedProto, wire.XForwardedPrefix, wire.XRealIP, wire.ProxyOnly:
			if !x.trusted.has(f) {
				f.Kind = wire.Dropped
			}
		default: // Host, TransferEncoding, Upgrade, HTTP2Settings, KeepAlive, ProxyConnection, Proxy, Lookalike
			f.Kind = wire.Dropped
		}
	}
	x.ensureID()
}

// outgoing makes the head that is sent to m. It is valid until the next attempt.
func (x *Exchange) outgoing(m *upstream.Member) *wire.OutgoingRequest {
	h, out := &x.Head, &x.request
	x.values.Reset()
	*out = wire.OutgoingRequest{
		Method: h.Method, Target: h.Target, Authority: h.Host, Fields: out.Fields[:0],
		Framing: h.Framing, Size: h.Size, Trailers: x.takesTrailers,
	}
	if m.Host != "" {
		out.Authority = x.values.Keep(append(x.values.Start(), m.Host...))
	}
	if x.verbatim {
		out.Fields = append(out.Fields, h.Fields...)
		return out
	}
	if x.Upgrading() {
		out.Upgrade = h.Upgrade
	}
	out.Fields = x.appendSent(out.Fields)
	stripped := x.applyForward(out, m)
	out.Fields = x.appendMade(out.Fields, stripped)
	return out
}

// appendSent appends the client's fields that are sent on, with the place in the trace as
// it is now.
func (x *Exchange) appendSent(dst []wire.Field) []wire.Field {
	for i := range x.Head.Fields {
		switch f := &x.Head.Fields[i]; f.Kind {
		case wire.Dropped:
		case wire.Forwarded, wire.XForwardedFor, wire.XForwardedHost, wire.XForwardedPort, wire.XForwardedProto, wire.XForwardedPrefix, wire.XRealIP:
			// Those that are left are trusted. They become part of the fields that serai makes.
		case wire.Cookie:
			if policy.HasOwnCookie(f.Value) {
				value := x.values.Keep(policy.AppendForeignCookies(x.values.Start(), f.Value))
				if len(value) > 0 {
					dst = append(dst, wire.Field{Name: f.Name, Value: value, Kind: wire.Cookie})
				}
				continue
			}
			dst = append(dst, *f)
		default:
			dst = append(dst, *f)
		}
	}
	if x.tracer != nil {
		dst = x.appendTraceFields(dst)
	}
	return dst
}

// appendMade appends the fields that serai makes. Stripped is the part of the path that
// the instance does not see, empty for none.
func (x *Exchange) appendMade(dst []wire.Field, stripped []byte) []wire.Field {
	dst = x.addForwarded(dst, stripped)
	dst = wire.Add(dst, nameHops, x.hopsValue(), wire.XSeraiHops)
	if x.via != "" {
		dst = append(dst, x.viaField(x.Head.Major, x.Head.Minor))
	}
	if !x.identified {
		dst = wire.Add(dst, nameRequestID, x.requestID[:], wire.XRequestID)
	}
	return dst
}

// Upgrading reports whether the request asks for an upgrade that is passed on. h2c is
// not: the instance would switch to it, and serai would not understand. No upgrade is
// passed on if the engine has no tunnels.
func (x *Exchange) Upgrading() bool {
	u := x.Head.Upgrade
	if len(u) == 0 || wire.HasToken(u, "h2c") {
		return false
	}
	_, can := x.Responder.(Tunneler)
	return can
}

// maxRequestID bounds a client's request ID, in bytes. A longer one is replaced.
const maxRequestID = 128

// makeID makes a request ID: 16 hexadecimal digits.
func (x *Exchange) makeID() {
	random := rand.Uint64()
	binary.NativeEndian.PutUint64(x.requestID[:8], hexDigits(random&nibbles))
	binary.NativeEndian.PutUint64(x.requestID[8:], hexDigits(random>>4&nibbles))
}

const (
	ones    = 0x0101010101010101
	nibbles = 0x0f * ones
)

// hexDigits returns the digits for eight numbers below 16, in a byte each, all at once: only
// one of 10 or more becomes 16 or more when 6 is added.
func hexDigits(numbers uint64) uint64 {
	letters := (numbers + 6*ones) >> 4 & ones
	return numbers + '0'*ones + letters*('a'-'0'-10)
}

func goodID(value []byte) bool { return len(value) > 0 && len(value) <= maxRequestID }

// clientID returns the request ID that the client sent, nil for none.
func (x *Exchange) clientID() []byte {
	for i := range x.Head.Fields {
		if f := &x.Head.Fields[i]; f.Kind == wire.XRequestID && goodID(f.Value) {
			return f.Value
		}
	}
	return nil
}

// id returns the request's ID. It is empty if the request was never forwarded and no
// policy has needed the ID.
func (x *Exchange) id() []byte {
	switch {
	case x.identified:
		return x.clientID()
	case x.requestID[0] != 0:
		return x.requestID[:]
	}
	return nil
}

// ensureID returns the request's ID, and makes one if necessary.
func (x *Exchange) ensureID() []byte {
	id := x.clientID()
	if x.identified = id != nil; x.identified {
		return id
	}
	if x.requestID[0] == 0 {
		x.makeID()
	}
	return x.requestID[:]
}
