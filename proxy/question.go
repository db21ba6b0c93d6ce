package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"time"

	"serai/router"
	"serai/wire"
)

// Ask asks a service of the table, named NAMESPACE/NAME, what a policy wants to know: through
// the pool of the service, and with none of its policies, which are about the requests of
// clients. The request has no body, and is sent with the fields that it has; Host is the
// service's own if it has none. Its context ends the question. The answer's body is whole, and
// of a longer one than most bytes as much as shows that. An error completes a sentence whose
// subject is the service.
func (p *Proxy) Ask(service string, r *nethttp.Request, most int) (*nethttp.Response, error) {
	route := p.options.Router.Current().AskedRoute(service)
	if route == nil {
		return nil, errors.New("has no instance")
	}
	got := &answerReader{most: most}
	x := p.question(route, r, got)
	p.serveOwn(r.Context(), x)
	switch {
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case got.tooLong:
	case x.Reason != "": // of serai, or of an answer that was cut
		return nil, fmt.Errorf("cannot be asked: %s", x.Reason)
	case !got.whole:
		return nil, errors.New("breaks off")
	}
	got.Proto, got.ProtoMajor, got.ProtoMinor = "HTTP/1.1", 1, 1
	got.Body, got.ContentLength, got.Request = io.NopCloser(bytes.NewReader(got.body)), int64(len(got.body)), r
	return &got.Response, nil
}

// question makes the exchange of a question.
func (p *Proxy) question(route *router.Route, r *nethttp.Request, to Responder) *Exchange {
	var fields []wire.Field
	for name, values := range r.Header {
		for _, value := range values {
			f := field(name, value)
			f.Kind = wire.KindOf(f.Name)
			fields = append(fields, f)
		}
	}
	x := ownRequest(bare(route, r), r.Method, cmp.Or(r.Host, route.Host), "auth", r.URL.RequestURI(), fields, to)
	x.verbatim, x.prepared = true, true
	return x
}

// questionWait is how long a question waits for an instance: a new one is known to be ready by
// then.
const questionWait = time.Second

// bare is the route for a question: without its policies, and with a short wait for an
// instance. Who asks knows how long it may take; who did not answer by then has not failed as
// an instance.
func bare(r *router.Route, q *nethttp.Request) *router.Route {
	route := changed(r)
	const last = 10 * time.Minute
	o := route.Options
	o.Wait, o.Timeout, o.BodyIdle, o.GRPCWeb = min(o.Wait, questionWait), last, last, false
	if end, ok := q.Context().Deadline(); ok {
		left := 2 * max(time.Until(end), time.Second)
		o.Timeout, o.BodyIdle = left, left
	}
	route.Policies = nil
	return route
}

// answerReader takes the answer to a question.
type answerReader struct {
	nethttp.Response
	body    []byte
	most    int
	tooLong bool
	ownAnswer
}

var _ Responder = (*answerReader)(nil)

// errAnswerTooLong ends the reading of an answer.
var errAnswerTooLong = errors.New("the answer is too long")

// Head implements Responder.
func (r *answerReader) Head(h *wire.ResponseHead) error {
	r.StatusCode, r.Header = h.Status, make(nethttp.Header)
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Kind != wire.Dropped {
			name := nethttp.CanonicalHeaderKey(string(f.Name))
			r.Header[name] = append(r.Header[name], string(f.Value))
		}
	}
	return nil
}

// Write implements Responder.
func (r *answerReader) Write(p []byte) error {
	if len(r.body)+len(p) > r.most {
		r.body, r.tooLong = append(r.body, p[:r.most+1-len(r.body)]...), true
		return errAnswerTooLong
	}
	r.body = append(r.body, p...)
	return nil
}
