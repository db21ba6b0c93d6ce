package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"serai/wire"
)

// gRPC-Web is gRPC for clients that cannot read trailers, such as scripts in browsers: the
// answer's trailers are a last message in the body, and both bodies may be in base64. The
// instance gets gRPC.
//
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

// web is the state of a gRPC-Web request.
type web struct {
	on       bool
	textBody bool // the request's body is in base64
	text     bool // the answer's body will be
	answers  bool // the instance's answer is gRPC
	passed   messages
	out      []byte // encoded bytes; reused

	from Body   // the body in base64
	rest []byte // not decoded yet
	got  []byte // decoded; reused
}

var _ Body = (*web)(nil)

// errWebText means that a body is not valid base64.
var errWebText = &wire.Error{Status: 400, Code: "bad-base64", Detail: "the body is not valid base64"}

// webType returns the field that makes the request one of gRPC-Web, nil for any other
// request, what follows its media type, and whether the body is in base64. Only POST is
// gRPC-Web: an answer to HEAD has no body for the trailers.
func (x *Exchange) webType() (f *wire.Field, rest []byte, text bool) {
	if string(x.Head.Method) != "POST" {
		return nil, nil, false
	}
	if f = contentType(x.Head.Fields); f == nil {
		return nil, nil, false
	}
	if rest, text = cutType(f.Value, grpcWebText); text {
		return f, rest, true
	}
	rest, ok := cutType(f.Value, grpcWeb)
	if !ok {
		return nil, nil, false
	}
	return f, rest, false
}

// readsWeb reports whether the client reads gRPC-Web. From then on what serai itself
// answers is gRPC-Web, also if the route does not translate it or there is no route:
// clients accept no other answer to a call.
func (x *Exchange) readsWeb() bool {
	if x.web.on {
		return true
	}
	f, _, text := x.webType()
	if f == nil {
		return false
	}
	x.web.on = true
	x.web.chooseText(x.Header("accept"), text)
	return true
}

// asksWeb is readsWeb without that effect.
func (x *Exchange) asksWeb() bool {
	f, _, _ := x.webType()
	return x.web.on || f != nil
}

// chooseText decides whether the answer is in base64: by the Accept field, or else as
// the request is.
func (w *web) chooseText(accepted []byte, request bool) {
	w.text = bytes.Contains(accepted, []byte(grpcWebText)) || request && !bytes.Contains(accepted, []byte(grpcWeb))
}

// beginWeb turns a gRPC-Web request into a gRPC request, if the route says so.
func (x *Exchange) beginWeb() {
	if !x.Route.Options.GRPCWeb || x.web.on {
		return
	}
	f, rest, text := x.webType()
	if f == nil {
		return
	}
	x.web.on, x.web.textBody = true, text
	f.Value = append([]byte(grpcMedia), rest...)
	x.web.chooseText(x.Header("accept"), text)
	x.takesTrailers = true
	if x.web.textBody && x.Head.Framing == wire.Length { // decoding changes the length
		x.Head.Framing, x.Head.Size = wire.Chunked, 0
		for i := range x.Head.Fields {
			if f := &x.Head.Fields[i]; f.Kind == wire.ContentLength {
				f.Kind = wire.Dropped
			}
		}
	}
}

// requestBody is the body that is sent to the instance.
func (x *Exchange) requestBody() Body {
	if !x.web.textBody {
		return x.Body
	}
	x.web.from = x.Body
	return &x.web
}

// Next returns the next decoded bytes. Each part of the base64 text may end in padding.
func (w *web) Next() ([]byte, error) {
	for {
		data, err := w.from.Next()
		if err != nil {
			if len(w.rest) > 0 && w.from.Done() {
				return nil, errWebText
			}
			return nil, err
		}
		w.rest = append(w.rest, data...)
		whole := len(w.rest) / 4 * 4
		if bytes.ContainsAny(w.rest, "\r\n") { // which the decoder ignores
			return nil, errWebText
		}
		got := w.got[:0]
		for part := w.rest[:whole]; len(part) > 0; {
			n := len(part)
			if end := bytes.IndexByte(part, '='); end >= 0 {
				n = end/4*4 + 4
			}
			if got, err = base64.StdEncoding.AppendDecode(got, part[:n]); err != nil {
				return nil, errWebText
			}
			part = part[n:]
		}
		w.rest = append(w.rest[:0], w.rest[whole:]...)
		if w.got = got; len(got) > 0 {
			return got, nil
		}
	}
}

func (w *web) Gather() (bool, error)  { return w.from.Gather() }
func (w *web) Holds() int64           { return w.from.Holds() + int64(cap(w.got)+cap(w.rest)) }
func (w *web) Ready() bool            { return w.from.Ready() }
func (w *web) Done() bool             { return w.from.Done() && len(w.rest) == 0 }
func (w *web) Trailers() []wire.Field { return w.from.Trailers() }
func (w *web) Interrupt()             { w.from.Interrupt() }

// webHead turns the head of an instance's gRPC answer into one of gRPC-Web. Other
// answers pass unchanged. It removes the status fields from the head and returns them:
// scripts in a browser can always read them in the body.
func (x *Exchange) webHead(h *wire.ResponseHead) (trailers []wire.Field) {
	if !x.web.on || h.Status == 204 || h.Status == 304 { // these have no body
		return nil
	}
	if f := contentType(h.Fields); f != nil {
		if rest, ok := cutType(f.Value, grpcMedia); ok {
			x.web.answers = true
			f.Value = append([]byte(x.web.media()), rest...)
		}
	}
	if !x.web.answers {
		return nil
	}
	if h.Size == 0 && h.Framing != wire.Chunked {
		x.noteGRPC(h.Fields)
	}
	h.Framing, h.Size = wire.Chunked, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Kind == wire.ContentLength || f.Kind == wire.Trailer:
			f.Kind = wire.Dropped
		case isStatusField(f.Name):
			trailers = append(trailers, *f)
			f.Kind = wire.Dropped
		}
	}
	return trailers
}

// isStatusField reports whether a field is part of a call's gRPC status.
func isStatusField(name []byte) bool {
	return wire.EqualFold(name, "grpc-status") || wire.EqualFold(name, "grpc-message") || wire.EqualFold(name, "grpc-status-details-bin")
}

func (w *web) media() string {
	if w.text {
		return grpcWebText
	}
	return grpcWeb
}

// encode returns bytes of the answer's body in the client's encoding. They are valid
// until the next call.
func (w *web) encode(p []byte) []byte {
	if !w.answers {
		return p
	}
	w.passed.pass(p)
	if !w.text {
		return p
	}
	w.out = base64.StdEncoding.AppendEncode(w.out[:0], p)
	return w.out
}

// lastMessage is the message with the trailers.
func (w *web) lastMessage(trailers []wire.Field) []byte {
	const flag = 0x80
	b := []byte{flag, 0, 0, 0, 0}
	for i := range trailers {
		if f := &trailers[i]; f.Kind != wire.Dropped {
			b = append(b, strings.ToLower(string(f.Name))...)
			b = append(append(append(b, ": "...), f.Value...), "\r\n"...)
		}
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-5))
	return b
}

// finishWeb ends a gRPC-Web answer with its trailers.
func (x *Exchange) finishWeb(trailers []wire.Field) error {
	last := x.web.encode(x.web.lastMessage(trailers))
	x.BytesOut += int64(len(last))
	if err := x.Responder.Write(last); err != nil {
		return err
	}
	return x.Responder.Finish(nil)
}

// WebCut returns the last bytes of a gRPC-Web answer that is cut off: the trailers of
// GRPCCut, as a message. It returns nil for other answers, and where an incomplete
// message has begun: these bytes would be taken for a part of it.
func (x *Exchange) WebCut() []byte {
	if !x.web.answers || !x.web.passed.between() {
		return nil
	}
	return x.web.encode(x.web.lastMessage(x.cutTrailers()))
}

// endCutWeb ends a gRPC-Web answer that the instance has cut off so that the client can
// read what has happened, and reports whether that is possible.
func (x *Exchange) endCutWeb() bool {
	last := x.WebCut()
	if last == nil || x.Responder.Write(last) != nil {
		return false
	}
	x.BytesOut += int64(len(last))
	return x.Responder.Finish(nil) == nil
}

// sendWeb answers with trailers only.
func (x *Exchange) sendWeb(status int, reason, detail string, more ...wire.Field) {
	h := x.grpcRefusal(status, reason, detail)
	trailers := x.webHead(h)
	h.Fields = append(h.Fields, more...)
	x.applyAnswer(h, true)
	x.Status = status
	if x.Responder.Head(h) == nil {
		x.finishWeb(trailers)
	}
}
