package proxy

import (
	"math/rand/v2"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// forwarding is what an exchange works with on its way to an instance.
type forwarding struct {
	query      router.Query
	believed   *believed // of what the peer says; nil for nothing
	obscured   bool      // a trusted proxy names its client, but by no address
	proto      proto     // that the client speaks
	ip         [16]byte
	trailing   bool // the client takes trailers
	tried      upstream.Tried
	logged     bool     // Options.Log has got it, or is getting it
	observed   bool     // the route's statistics count the request as in flight
	picked     bool     // the request has a place at Member
	repeats    int      // attempts that are bound by the retries tag and the budget
	hops       int      // how many serai the request has passed before this one
	via        string   // the name that serai gives itself in Via, empty for none
	identified bool     // the request brought an ID of its own
	requestID  [16]byte // otherwise the one made for it
	request    wire.OutgoingRequest
	values     wire.Values // of the fields that are made for it, and for its answer
	phases     phases
	upload     upload
	sent       upstream.Request // the attempt under way, and what it brings
	answer     upstream.Answer
	calling    caller
	web        web
	transforms transforms
	prepared   bool // the fields that are not sent on are marked
	admitted   bool // the policies of Route that may answer have let the request pass
	fetching   bool // it is for a page, or a question, of serai's own: see ownrequest.go
	verbatim   bool // its fields are sent as they are
	asking
	unsendable string // why the policies have refused to send the request, empty if they have not
}

func (f *forwarding) reset() {
	f.query, f.believed, f.proto, f.trailing = router.Query{}, nil, 0, false
	f.obscured = false
	f.logged, f.observed, f.picked = false, false, false
	f.tried, f.repeats, f.hops = upstream.Tried{}, 0, 0
	f.identified, f.requestID, f.unsendable = false, [16]byte{}, ""
	f.upload, f.calling = upload{}, caller{}
	f.sent, f.answer.Stream = upstream.Request{Scratch: f.sent.Scratch}, nil
	f.web, f.transforms, f.prepared, f.admitted = web{}, transforms{}, false, false
	f.asking.reset()
	f.values.Reset()
}

// prepare marks the request fields that are not sent on: those of the
// connection, those the Connection field names, those we set ourselves, and
// what looks like them (RFC 9110 section 7.6.1).
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
			// RFC 9110 section 10.1.4: codings are between the client and us, but
			// trailers come from the instance.
			x.trailing = x.trailing || x.Head.Minor == 1 && wire.HasToken(f.Value, "trailers")
			f.Kind = wire.Dropped
		case wire.XRequestID:
			if identified || !goodID(f.Value) {
				f.Kind = wire.Dropped
			}
			identified = identified || f.Kind != wire.Dropped
		case wire.XSeraiHops:
			x.hops = max(x.hops, parseHops(f.Value))
			f.Kind = wire.Dropped
		case wire.Forwarded, wire.XForwardedFor, wire.XForwardedHost, wire.XForwardedPort, wire.XForwardedProto, wire.XForwardedPrefix, wire.XRealIP, wire.Vouched:
			if !x.believed.field(f) {
				f.Kind = wire.Dropped
			}
		default: // Host, TransferEncoding, Upgrade, HTTP2Settings, KeepAlive, ProxyConnection, Proxy, Lookalike
			f.Kind = wire.Dropped
		}
	}
	x.ensureID()
}

// outgoing makes the head of the request as it is sent to m. It is valid until the
// next attempt.
func (x *Exchange) outgoing(m *upstream.Member) *wire.OutgoingRequest {
	h, out := &x.Head, &x.request
	x.values.Reset()
	*out = wire.OutgoingRequest{
		Method: h.Method, Target: h.Target, Authority: h.Host, Fields: out.Fields[:0],
		Framing: h.Framing, Size: h.Size, Trailers: x.trailing,
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

// appendSent appends the fields of the client that are sent on.
func (x *Exchange) appendSent(dst []wire.Field) []wire.Field {
	for i := range x.Head.Fields {
		switch f := &x.Head.Fields[i]; f.Kind {
		case wire.Dropped:
		case wire.Forwarded, wire.XForwardedFor, wire.XForwardedHost, wire.XForwardedPort, wire.XForwardedProto, wire.XForwardedPrefix, wire.XRealIP:
			// Those left are believed; they go into ours.
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
	return dst
}

// appendMade appends the fields that serai makes. Stripped is what of the path the
// instance does not get to see, empty for nothing.
func (x *Exchange) appendMade(dst []wire.Field, stripped []byte) []wire.Field {
	dst = x.addForwarded(dst, stripped)
	dst = append(dst, x.hopsField())
	if x.via != "" {
		dst = append(dst, x.viaField(x.Head.Major, x.Head.Minor))
	}
	if !x.identified {
		dst = append(dst, wire.Field{Name: nameRequestID, Value: x.requestID[:], Kind: wire.XRequestID})
	}
	return dst
}

// Upgrading reports whether the request asks for a protocol that is passed on.
// h2c is not: the instance would speak it to us, and we do not. Nor is any where
// the engine has no tunnels.
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
	const digits = "0123456789abcdef"
	random := rand.Uint64()
	for i := range x.requestID {
		x.requestID[i] = digits[random&15]
		random >>= 4
	}
}

func goodID(value []byte) bool { return len(value) > 0 && len(value) <= maxRequestID }

// broughtID returns the ID that the client has given the request, nil for none.
func (x *Exchange) broughtID() []byte {
	for i := range x.Head.Fields {
		if f := &x.Head.Fields[i]; f.Kind == wire.XRequestID && goodID(f.Value) {
			return f.Value
		}
	}
	return nil
}

// id returns the request's ID, empty when it was never forwarded, and no policy has
// asked for it.
func (x *Exchange) id() []byte {
	switch {
	case x.identified:
		return x.broughtID()
	case x.requestID[0] != 0:
		return x.requestID[:]
	}
	return nil
}

// ensureID returns the request's ID, which it makes if there is none yet.
func (x *Exchange) ensureID() []byte {
	id := x.broughtID()
	if x.identified = id != nil; x.identified {
		return id
	}
	if x.requestID[0] == 0 {
		x.makeID()
	}
	return x.requestID[:]
}
