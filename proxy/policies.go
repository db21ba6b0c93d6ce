package proxy

import (
	"crypto/tls"
	"net/netip"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

var _ policy.Request = (*Exchange)(nil)

// phases is what the phases of policies work with.
type phases struct {
	reply   policy.Reply
	forward policy.Forward
	answer  policy.Answer
	page    *policy.Page // that is sent in place of the answer's own body, nil for that
}

// Received returns the head as the client sent it. Its fields may be marked as not
// to be sent on.
func (x *Exchange) Received() *wire.RequestHead { return &x.Head }

// AppendHost appends the host that was asked for as routes are looked up by it.
func (x *Exchange) AppendHost(dst []byte) []byte { return router.AppendHost(dst, x.Head.Host) }

// OverHTTPS reports whether the client speaks https, to us or to a trusted proxy
// in front of us.
func (x *Exchange) OverHTTPS() bool { return x.proto == secureHTTP }

// ClientAddr returns the client's address. It is not valid where the peer has none, such
// as on a unix socket, or where a trusted proxy does not say which address it has.
func (x *Exchange) ClientAddr() netip.Addr {
	if x.obscured {
		return netip.Addr{}
	}
	return x.Client.Unmap().WithZone("")
}

// StickyCookie returns the cookie that keeps the client on its member, empty when
// the client has it or the route is not sticky.
func (x *Exchange) StickyCookie() (name, value string) {
	return x.Route.Pool.StickyCookie(x, x.Member)
}

// applyRequest runs the route's policies before an instance is picked, and answers
// where one of them does.
func (p *Proxy) applyRequest(x *Exchange) (answered bool) {
	x.learned.Reset() // there may have been another route before
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

// AppendPlaceholder appends what p stands for.
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
	case policy.TLSVersion:
		return append(dst, tlsVersion(x.TLSVersion)...)
	case policy.SNI:
		return append(dst, x.ServerName...)
	}
	return dst
}

// tlsVersion is a version's name as servers write it in fields and logs; empty without
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

// applyForward runs the policies of m and of the route on the head that is sent to
// m, and returns what they have removed where the path begins. If one of them has refused
// the request, the exchange says why: see unsendable.
func (x *Exchange) applyForward(out *wire.OutgoingRequest, m *upstream.Member) (stripped []byte) {
	if m.Policies == nil && x.Route.Policies == nil {
		return nil
	}
	f := &x.phases.forward
	*f = policy.Forward{Request: x, Head: out, Path: x.Head.Path, Values: &x.values}
	m.Policies.Forward(f)
	if f.Refused() == "" {
		x.Route.Policies.Forward(f)
	}
	x.unsendable = f.Refused()
	return f.Stripped
}

// applyAnswer finishes the head of an answer before the client gets it: every final
// one, whoever gives it, and every 101. No head goes to the Responder without it.
func (x *Exchange) applyAnswer(h *wire.ResponseHead, own bool) *wire.ResponseHead {
	if x.via != "" && !own {
		h.Fields = append(h.Fields, x.viaField(0, h.Minor))
	}
	if x.Route == nil || x.Route.Policies == nil {
		return h
	}
	a := &x.phases.answer
	*a = policy.Answer{Request: x, Head: h, Own: own, Page: x.phases.page, Values: &x.values, Relayed: x.transforms.relaying, Memory: x.Memory}
	x.Route.Policies.Answer(a)
	x.transforms.by, a.Transform = a.Transform, nil
	return h
}
