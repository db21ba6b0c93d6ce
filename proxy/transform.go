package proxy

import (
	"serai/policy"
	"serai/wire"
)

// transforms is how the body of an answer is transformed on its way to the client.
type transforms struct {
	relaying bool             // the current head belongs to a relayed answer
	by       policy.Transform // nil if the body is not transformed
}

// relayHead begins a relayed answer, whose body may be transformed.
func (x *Exchange) relayHead(h *wire.ResponseHead) error {
	x.transforms.relaying = true
	h = x.applyAnswer(h, false)
	x.transforms.relaying = false
	if t := x.transforms.by; t != nil {
		t.Begin(func(p []byte) error {
			x.BytesOut += int64(len(p))
			return x.Responder.Write(p)
		})
	}
	return x.Responder.Head(h)
}

// relayBytes sends bytes of the body, and returns how many to add to BytesOut.
func (x *Exchange) relayBytes(p []byte) (n int, err error) {
	if t := x.transforms.by; t != nil {
		return 0, t.Write(p)
	}
	return len(p), x.Responder.Write(p)
}

// relayFlush sends what is buffered.
func (x *Exchange) relayFlush() error {
	if t := x.transforms.by; t != nil {
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return x.Responder.Flush()
}

// relayEnd ends the answer.
func (x *Exchange) relayEnd(trailers []wire.Field) error {
	if t := x.transforms.by; t != nil {
		if err := t.Finish(); err != nil {
			return err
		}
		policy.DropDigests(trailers)
	}
	return x.Responder.Finish(trailers)
}

// endTransform releases what a transformation holds, however the answer has ended.
func (x *Exchange) endTransform() {
	if t := x.transforms.by; t != nil {
		x.transforms = transforms{}
		t.End()
	}
}
