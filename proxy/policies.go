package proxy

import (
	"crypto/tls"
	"encoding/hex"
	"net/netip"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

var _ policy.Request = (*Exchange)(nil)

// phases is what the phases of policies work on.
type phases struct {
	reply   policy.Reply
	forward policy.Forward
	answer  policy.Answer
	page    *policy.Page // replaces the answer's own body; nil for none
	limits  *policy.Limits
}

// Received returns the head as the client sent it. Some fields may be marked as not to
// be sent on.
func (x *Exchange) Received() *wire.RequestHead { return &x.Head }

// AppendHost appends the requested host in the form by which routes are looked up.
func (x *Exchange) AppendHost(dst []byte) []byte { return router.AppendHost(dst, x.Head.Host) }

// OverHTTPS reports whether the client uses https, to serai or to a trusted proxy in
// front of it.
func (x *Exchange) OverHTTPS() bool { return x.proto == secureHTTP }

// ClientAddr returns the client's address. It is invalid if the peer has none, as on a
// unix socket, or if a trusted proxy does not name it.
func (x *Exchange) ClientAddr() netip.Addr {
	if x.clientHidden {
		return netip.Addr{}
	}
	return x.Client.Unmap().WithZone("")
}

// StickyCookie returns the cookie that keeps the client on its member. It is empty if
// the client has it already or the route is not sticky.
func (x *Exchange) StickyCookie() (name, value string) {
	return x.Route.Pool.StickyCookie(x, x.Member)
}

// applyRequest applies the policies of the request phase, and reports whether one of
// them has answered.
func (p *Proxy) applyRequest(x *Exchange) (answered bool) {
	x.learned.Reset() // the request may have had another route before
	x.phases.limits = p.options.PolicyLimits
	x.admitted = false
	if !x.Route.Policies.MayAnswer() {
		x.admitted = true
		return false
	}
	reply := &x.phases.reply
	*reply = policy.Reply{Fields: reply.Fields[:0], Values: &x.values}
	x.maxHops = p.options.MaxHops
	if !x.Route.Policies.Request(x, reply) {
		x.admitted = true
		return false
	}
	switch {
	case reply.Status == 0:
		x.cut(ReasonClientGone)
	case reply.Detail != "" && (reply.Body == nil || x.ofGRPC() || x.readsWeb()):
		p.answerWith(x, reply.Status, reply.Reason, reply.Detail, reply.Fields...)
	default:
		x.Reason = reply.Reason
		x.send(reply.Status, append(reply.Fields, field("X-Serai-Reason", reply.Reason)), reply.Body)
	}
	return true
}

// AppendPlaceholder appends the value of a placeholder.
func (x *Exchange) AppendPlaceholder(dst []byte, p policy.Placeholder) []byte {
	switch p {
	case policy.Host:
		return x.AppendHost(dst)
	case policy.Path:
		return append(dst, x.Head.Path...)
	case policy.Query:
		return append(dst, x.Head.Query...)
	case policy.Client:
		if x.Client.IsValid() {
			return x.Client.AppendTo(dst)
		}
	case policy.RequestID:
		return append(dst, x.ensureID()...)
	case policy.TraceID:
		if id, ok := x.TraceID(); ok {
			return hex.AppendEncode(dst, id[:])
		}
	case policy.TLSVersion:
		return append(dst, tlsVersion(x.TLSVersion)...)
	case policy.SNI:
		return append(dst, x.ServerName...)
	}
	return dst
}

// tlsVersion is the name that servers give a version in fields and logs; empty without
// TLS.
func tlsVersion(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS10:
		return "TLSv1"
	}
	return ""
}

// applyForward applies the policies of m and of the route to the head that is sent to
// m. It returns what they have removed from the start of the path. If one of them
// refuses the request, unsendable says why.
func (x *Exchange) applyForward(out *wire.OutgoingRequest, m *upstream.Member) (stripped []byte) {
	if m.Policies == nil && x.Route.Policies == nil {
		return nil
	}
	f := &x.phases.forward
	*f = policy.Forward{Request: x, Head: out, Path: x.Head.Path, Values: &x.values, Limits: x.phases.limits}
	m.Policies.Forward(f)
	if f.Refused() == "" {
		x.Route.Policies.Forward(f)
	}
	x.unsendable = f.Refused()
	return f.Stripped
}

// applyAnswer applies the policies of the answer phase. Every final head and every 101
// passes it on its way to the Responder.
func (x *Exchange) applyAnswer(h *wire.ResponseHead, own bool) *wire.ResponseHead {
	if x.via != "" && !own {
		h.Fields = append(h.Fields, x.viaField(0, h.Minor))
	}
	if x.Route == nil || x.Route.Policies == nil {
		return h
	}
	a := &x.phases.answer
	*a = policy.Answer{Request: x, Head: h, Own: own, Page: x.phases.page, Values: &x.values, Limits: x.phases.limits, Relayed: x.transforms.relaying, Memory: x.Memory}
	x.Route.Policies.Answer(a)
	x.transforms.by, a.Transform = a.Transform, nil
	return h
}
