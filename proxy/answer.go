package proxy

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// answer sends the answer that the table of reasons defines.
func (p *Proxy) answer(x *Exchange, r Reason) {
	p.answerWith(x, reasons[r].Status, r.Code(), reasons[r].Detail)
}

// answerWith sends an answer of serai itself: one line of text, or JSON when the client
// asks for it. The given fields precede serai's own.
func (p *Proxy) answerWith(x *Exchange, status int, reason, detail string, more ...wire.Field) {
	x.Reason = reason
	if x.speaksGRPC() {
		x.sendGRPC(status, reason, detail, more...)
		return
	}
	if x.readsWeb() {
		x.sendWeb(status, reason, detail, more...)
		return
	}
	shown := p.pageFor(x, status)
	fields, body := more, []byte(nil)
	if shown == nil {
		var contentType string
		contentType, body = x.plainBody(status, reason, detail)
		fields = append(fields, field("Content-Type", contentType))
	}
	fields = append(fields, field("X-Serai-Reason", reason), field("Cache-Control", "no-store"))
	if status == 503 {
		fields = append(fields, field("Retry-After", "1"))
	}
	if shown != nil {
		defer p.pages.release(shown)
		h := ownHead(status, fields)
		x.sendPage(&h, true, shown)
		return
	}
	x.send(status, fields, body)
}

// plainBody returns the body of an answer of serai itself, as text or as JSON.
func (x *Exchange) plainBody(status int, reason, detail string) (contentType string, body []byte) {
	body = make([]byte, 0, 256)
	if bytes.Contains(x.Header("accept"), []byte("json")) {
		body = append(body, `{"status":`...)
		body = strconv.AppendInt(body, int64(status), 10)
		body = append(body, `,"reason":`...)
		body = strconv.AppendQuote(body, reason)
		body = append(body, `,"detail":`...)
		body = strconv.AppendQuote(body, detail)
		return "application/json", append(body, "}\n"...)
	}
	body = strconv.AppendInt(body, int64(status), 10)
	body = append(body, ' ')
	body = append(body, detail...)
	body = append(body, " ("...)
	body = append(body, reason...)
	return "text/plain; charset=utf-8", append(body, ")\n"...)
}

// Refusal is the answer to bytes that are not a valid request. The engine sends it and
// frames the body. Where tells people which line has the error. A client of gRPC or
// gRPC-Web, as far as the head could be read, gets an answer that it understands. A cache
// must keep none, like all others of serai: whoever sends a malformed field through it would
// replace the page of others.
func (x *Exchange) Refusal(e *wire.Error, where string) (h *wire.ResponseHead, body []byte) {
	defer func() {
		if string(x.Head.Method) != "HEAD" {
			x.BytesOut = int64(len(body))
		}
	}()
	switch {
	case x.speaksGRPC():
		return x.grpcRefusal(e.Status, e.Code, e.Detail), nil
	case x.readsWeb():
		h = x.grpcRefusal(e.Status, e.Code, e.Detail)
		body = x.web.encode(x.web.lastMessage(x.webHead(h)))
		h.Framing, h.Size = wire.Length, int64(len(body))
		return h, body
	}
	body = []byte(strconv.Itoa(e.Status) + " " + e.Detail + where + " (" + e.Code + ")\n")
	return &wire.ResponseHead{
		Status: e.Status, Minor: 1, Framing: wire.Length, Size: int64(len(body)),
		Fields: []wire.Field{field("Content-Type", "text/plain; charset=utf-8"), field("X-Serai-Reason", e.Code), field("Cache-Control", "no-store")},
	}, body
}

// send sends a complete answer of serai itself with that body.
func (x *Exchange) send(status int, fields []wire.Field, body []byte) {
	h := ownHead(status, fields)
	x.sendWhole(&h, true, body)
}

// ownHead is the head of an answer of serai itself.
func ownHead(status int, fields []wire.Field) wire.ResponseHead {
	return wire.ResponseHead{Status: status, Minor: 1, KeepAlive: true, Fields: fields}
}

// sendPiece bounds how much of a body is written at once, in bytes: a slow client must
// read that much within the time limit of each write.
const sendPiece = 16 << 10

// sendWhole sends a head with that body. An error means that the client has left.
func (x *Exchange) sendWhole(h *wire.ResponseHead, own bool, body []byte) error {
	h.Framing, h.Size = wire.Length, int64(len(body))
	x.applyAnswer(h, own)
	if h.Status != 204 { // RFC 9110 section 8.6
		h.Fields = append(h.Fields, wire.Field{
			Name: []byte("Content-Length"), Value: strconv.AppendInt(nil, h.Size, 10), Kind: wire.ContentLength,
		})
	}
	switch {
	case h.Status == 204:
		h.Framing, body = wire.NoBody, nil
	case string(x.Head.Method) == "HEAD":
		h.Framing, h.Declared, body = wire.NoBody, true, nil
	}
	x.Status = h.Status
	r := x.Responder
	if err := r.Head(h); err != nil {
		return err
	}
	for len(body) > 0 {
		piece := body[:min(len(body), sendPiece)]
		if err := r.Write(piece); err != nil {
			return err
		}
		x.BytesOut += int64(len(piece))
		body = body[len(piece):]
	}
	return r.Finish(nil)
}

func field(name, value string) wire.Field {
	return wire.Field{Name: []byte(name), Value: []byte(value)}
}

// cut ends the exchange without a complete answer.
func (x *Exchange) cut(r Reason) {
	x.Reason = r.Code()
	if x.cutShort() && x.endCutWeb() {
		return
	}
	x.Responder.Abort()
}

// serveUnrouted answers a request that no route takes.
func (p *Proxy) serveUnrouted(x *Exchange, table *router.Table, miss router.Miss) {
	switch {
	case miss == router.NoHost && p.wantsReady(x):
		p.serveReady(x)
	case table.Built.IsZero(), table.Partial && (miss == router.NoHost || miss == router.NoPath || miss == router.NoCondition):
		p.answer(x, ReasonStarting)
	case miss == router.NoHost:
		p.answer(x, ReasonNoHost)
	case miss == router.NoPath:
		p.answer(x, ReasonNoPath)
	case miss == router.Disguised:
		p.answer(x, ReasonDisguisedPath)
	case miss == router.DisguisedMethod:
		p.answer(x, ReasonDisguisedMethod)
	default:
		p.answer(x, ReasonNoCondition)
	}
}

// wantsReady reports whether the request is for the ready path.
func (p *Proxy) wantsReady(x *Exchange) bool {
	return p.options.ReadyPath != "" && string(x.Head.Path) == p.options.ReadyPath
}

// serveReady answers a load balancer's health check.
func (p *Proxy) serveReady(x *Exchange) {
	x.Check = true
	text := []wire.Field{field("Content-Type", "text/plain; charset=utf-8"), field("Cache-Control", "no-store")}
	if p.options.Ready() {
		x.send(200, text, []byte("ready\n"))
		return
	}
	x.Reason = ReasonNotReady.Code()
	x.send(reasons[ReasonNotReady].Status, append(text, field("X-Serai-Reason", x.Reason)), []byte("not ready\n"))
}

// misdirected answers 421 when the connection must not carry requests for this host:
// its TLS handshake did not show the host's certificate, or did not ask for the client
// certificate that the host demands (RFC 9110 section 15.5.20).
func (p *Proxy) misdirected(x *Exchange) bool {
	if p.options.Shares == nil || !x.Secure && !p.options.SharesPlain {
		return false
	}
	// A server name has no port: see package tls. A connection without a server name may
	// be used for all hosts, unless some host demands client certificates.
	switch {
	case !x.Secure:
	case x.ServerName == string(upstream.Hostname(x.Head.Host)), x.ServerName == "" && !p.options.SharesPlain:
		return false
	}
	if p.options.Shares(x.Secure, x.ServerName, string(x.Head.Host)) {
		return false
	}
	e := reasons[ReasonMisdirected]
	if !x.Secure {
		e.Detail = "this host requires a client certificate: use https"
	}
	p.answerWith(x, e.Status, e.Code, e.Detail)
	return true
}

// challengePath is the prefix of the path at which a CA validates a host (RFC 8555
// section 8.3).
const challengePath = "/.well-known/acme-challenge/"

// answerChallenge answers a CA's validation of a host, before any redirect. A token
// that serai does not know is left to the host's own service.
func (p *Proxy) answerChallenge(x *Exchange) bool {
	if p.options.Challenge == nil || !bytes.HasPrefix(x.Head.Path, []byte(challengePath)) {
		return false
	}
	answer, ok := p.options.Challenge(string(x.Head.Host), string(x.Head.Path))
	if !ok {
		return false
	}
	x.Reason = ReasonChallenge.Code()
	x.send(reasons[ReasonChallenge].Status, []wire.Field{field("Content-Type", "application/octet-stream"), field("X-Serai-Reason", x.Reason)}, []byte(answer))
	return true
}

// isAddress reports whether host is an IP address, with or without a port, in any
// spelling that clients use, or is empty, as in HTTP/1.0.
func isAddress(host []byte) bool {
	s := string(host)
	if h, port, ok := strings.Cut(s, ":"); ok && strings.Trim(port, "0123456789") == "" {
		s = h
	} else if i := strings.LastIndex(s, "]:"); i >= 0 {
		s = s[:i]
	}
	s = strings.TrimSuffix(strings.Trim(s, "[]"), ".")
	_, err := netip.ParseAddr(s)
	return s == "" || err == nil
}
