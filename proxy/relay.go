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
	h, body, r := &x.answer.Head, x.answer.Stream, x.Responder
	dropOwn(h)
	x.Status = h.Status
	headTrailers := x.webHead(h)
	if h.Size == 0 && h.Framing != wire.Chunked { // a gRPC answer without a body has its status here
		x.noteGRPC(h.Fields)
	}
	framing, size := h.Framing, h.Size
	defer x.endTransform()
	if err := x.relayHead(h); err != nil {
		x.cut(ReasonClientGone)
		return false
	}
	if framing == wire.Length && !body.Done() { // what is here is sent in any case
		x.sized.Store(true)
	}
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
		data, n, err := pull(body, pipe)
		taken.got()
		if err == io.EOF {
			break
		}
		if err != nil {
			switch {
			case !x.holdStream(body):
				x.cut(ReasonClientGone)
			case taken.silent(err, idle):
				x.excused = framing != wire.Length
				x.cut(ReasonUpstreamIdle)
			default:
				x.excused = taken.keptWaiting()
				x.cut(ReasonUpstreamCut)
			}
			return false
		}
		if n > 0 {
			client := r.(PlainResponder).Plain()
			client.WriteWithin(time.Now(), p.options.WriteIdle)
			err = pipe.Drain(client)
		} else {
			n, err = x.relayBody(x.web.encode(data))
		}
		x.BytesOut += int64(n)
		if err != nil {
			x.cut(ReasonClientGone)
			return false
		}
	}
	trailers := filterTrailers(body.Trailers())
	x.noteGRPC(trailers)
	x.Route.Policies.Trailers(policy.AnswerMessage, trailers)
	err := error(nil)
	if x.web.answers {
		err = x.finishWeb(append(trailers, headTrailers...))
	} else {
		err = x.relayEnd(trailers)
	}
	if err != nil {
		x.Reason = ReasonClientGone.Code()
	}
	return true
}

// dropOwn drops the fields that only serai may send.
func dropOwn(h *wire.ResponseHead) {
	for i := range h.Fields {
		if h.Fields[i].Kind == wire.XSeraiReason {
			h.Fields[i].Kind = wire.Dropped
		}
	}
}

// pull takes the next bytes of an answer's body. If there is a pipe and the bytes can
// go into it, n of them do.
func pull(body upstream.Stream, pipe *socket.Pipe) (data []byte, n int, err error) {
	if pipe != nil {
		n, err = body.(upstream.Spliced).Pull(pipe)
	}
	if n == 0 && err == nil {
		data, err = body.Next()
	}
	return data, n, err
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
