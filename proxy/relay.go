package proxy

import (
	"io"
	"time"

	"serai/policy"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// relay passes the answer to the client as it arrives, and reports whether all of it
// has arrived.
func (p *Proxy) relay(x *Exchange) (whole bool) {
	h := &x.answer.Head
	dropOwn(h)
	x.Status = h.Status
	webTrailers := x.webHead(h)
	if h.Size == 0 && h.Framing != wire.Chunked { // a gRPC answer without a body has its status here
		x.noteGRPC(h.Fields)
	}
	framing, size := h.Framing, h.Size // before policies change them
	defer x.endTransform()
	if err := x.relayHead(h); err != nil {
		x.cut(ReasonClientGone)
		return false
	}
	if framing == wire.Length && !x.answer.Stream.Done() { // what is here is sent in any case
		x.sized.Store(true)
	}
	if !p.relayBody(x, framing, size) {
		return false
	}
	if err := x.relayTrailers(webTrailers); err != nil {
		x.Reason = ReasonClientGone.Code()
	}
	return true
}

// relayBody passes the body to the client, flushing whenever the instance pauses, and
// reports whether all of it has arrived. Otherwise it cuts the answer off.
func (p *Proxy) relayBody(x *Exchange, framing wire.Framing, size int64) (whole bool) {
	body := x.answer.Stream
	pipe := p.pipe(x, framing, size)
	defer pipe.Close()
	idle := p.answerIdle(x)
	taken := takings{began: x.Now}
	for {
		if !body.Ready() && !body.Done() {
			if err := x.relayFlush(); err != nil {
				x.cut(ReasonClientGone)
				return false
			}
			now := time.Now()
			x.waiting.Set(now)
			taken.asks(now)
			body.ReadWithin(now, idle)
		}
		data, piped, err := pull(body, pipe)
		taken.got()
		switch {
		case err == io.EOF:
			return true
		case err == nil:
		case !x.holdStream(body):
			x.cut(ReasonClientGone)
			return false
		case taken.silent(err, idle):
			x.excused = framing != wire.Length
			x.cut(ReasonUpstreamIdle)
			return false
		default:
			x.excused = taken.keptWaiting()
			x.cut(ReasonUpstreamCut)
			return false
		}
		sent := piped
		if piped > 0 {
			client := x.Responder.(PlainResponder).Plain()
			client.WriteWithin(time.Now(), p.options.WriteIdle)
			err = pipe.Drain(client)
		} else {
			sent, err = x.relayBytes(x.web.encode(data))
		}
		x.BytesOut += int64(sent)
		if err != nil {
			x.cut(ReasonClientGone)
			return false
		}
	}
}

// relayTrailers ends the answer with the instance's trailers. In gRPC-Web, those that
// came in its head follow them.
func (x *Exchange) relayTrailers(webTrailers []wire.Field) error {
	trailers := filterTrailers(x.answer.Stream.Trailers())
	x.noteGRPC(trailers)
	x.Route.Policies.Trailers(policy.AnswerMessage, trailers)
	if x.web.answers {
		return x.finishWeb(append(trailers, webTrailers...))
	}
	return x.relayEnd(trailers)
}

// dropOwn drops the fields that only serai may send.
func dropOwn(h *wire.ResponseHead) {
	for i := range h.Fields {
		if h.Fields[i].Kind == wire.XSeraiReason {
			h.Fields[i].Kind = wire.Dropped
		}
	}
}

// pull takes the next bytes of an answer's body: into the pipe, if there is one and they
// can go there, and otherwise as data.
func pull(body upstream.Stream, pipe *socket.Pipe) (data []byte, piped int, err error) {
	if pipe != nil {
		piped, err = body.(upstream.Spliced).Pull(pipe)
	}
	if piped == 0 && err == nil {
		data, err = body.Next()
	}
	return data, piped, err
}

// pipe makes the pipe for an answer's body, nil if the body is copied.
func (p *Proxy) pipe(x *Exchange, f wire.Framing, size int64) *socket.Pipe {
	if !p.options.Splice || f != wire.Length || x.transforms.by != nil {
		return nil
	}
	from, can := x.answer.Stream.(upstream.Spliced)
	if !can || !from.Plain() {
		return nil
	}
	to, can := x.Responder.(PlainResponder)
	if !can || to.Plain() == nil {
		return nil
	}
	return socket.NewPipe(size)
}
