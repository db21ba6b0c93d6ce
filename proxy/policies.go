package proxy

import (
	"net/netip"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

var _ policy.Request = (*Exchange)(nil)

// phases is what the phases of policies work with.
type phases struct {
	notes   policy.Notes
	passed  *policy.List // the policies that have let the request through
	reply   policy.Reply
	forward policy.Forward
	answer  policy.Answer
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

// Notes returns what policies have noted about the request.
func (x *Exchange) Notes() *policy.Notes { return &x.phases.notes }

// StickyCookie returns the cookie that keeps the client on its member, empty when
// the client has it or the route is not sticky.
func (x *Exchange) StickyCookie() (name, value string) {
	return x.Route.Pool.StickyCookie(x, x.Member)
}

// applyRequest runs the route's policies before an instance is picked, and answers
// where one of them does.
func (p *Proxy) applyRequest(x *Exchange) (answered bool) {
	x.phases.passed = x.Route.Policies
	return p.ask(x, x.Route.Policies)
}

// applyAgain runs the policies of the route as it is now, after the request has waited:
// it has been given an instance that may demand what the route did not when the request
// came. What it has passed already is not asked again.
func (p *Proxy) applyAgain(x *Exchange) (answered bool) {
	now := x.Route.Pool.Room().Policies()
	if now.AnswersAs(x.phases.passed) {
		return false
	}
	x.phases.passed = now
	return p.ask(x, now)
}

// ask runs policies that may answer the request.
func (p *Proxy) ask(x *Exchange, l *policy.List) (answered bool) {
	if !l.MayAnswer() {
		return false
	}
	reply := &x.phases.reply
	*reply = policy.Reply{Fields: reply.Fields[:0], Values: &x.values}
	if !l.Request(x, reply) {
		return false
	}
	if reply.Detail != "" {
		p.answerWith(x, reply.Status, reply.Reason, reply.Detail, reply.Fields...)
		return true
	}
	x.Reason = reply.Reason
	x.send(reply.Status, append(reply.Fields, field("X-Serai-Reason", reply.Reason)), nil)
	return true
}

// applyForward runs the policies of m and of the route on the head that is sent to
// m, and returns what they have removed where the path begins.
func (x *Exchange) applyForward(out *wire.OutgoingRequest, m *upstream.Member) (stripped []byte) {
	if m.Policies == nil && x.Route.Policies == nil {
		return nil
	}
	f := &x.phases.forward
	*f = policy.Forward{Request: x, Head: out, Path: x.Head.Path, Values: &x.values}
	m.Policies.Forward(f)
	x.Route.Policies.Forward(f)
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
	*a = policy.Answer{Request: x, Head: h, Own: own, Values: &x.values}
	x.Route.Policies.Answer(a)
	return h
}
