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

// Ask sends a request of a policy to a service of the table, named NAMESPACE/NAME,
// through the service's pool, and without its policies, which are meant for clients.
// The request has no body, and only the fields that it comes with. Its host is the
// service's own if it names none. It ends with its context. The answer's body is
// complete; of a body with more than most bytes, one byte more than that is returned.
// An error completes a sentence whose subject is the service.
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
	case x.Reason != "": // serai answered itself, or the answer was cut off
		return nil, fmt.Errorf("cannot be asked: %s", x.Reason)
	case !got.whole:
		return nil, errors.New("breaks off")
	}
	got.Proto, got.ProtoMajor, got.ProtoMinor = "HTTP/1.1", 1, 1
	got.Body, got.ContentLength, got.Request = io.NopCloser(bytes.NewReader(got.body)), int64(len(got.body)), r
	return &got.Response, nil
}

// question makes the exchange of such a request.
func (p *Proxy) question(route *router.Route, r *nethttp.Request, to Responder) *Exchange {
	var fields []wire.Field
	for name, values := range r.Header {
		for _, value := range values {
			f := field(name, value)
			f.Kind = wire.KindOf(f.Name)
			fields = append(fields, f)
		}
	}
	x := ownRequest(withoutPolicies(route, r), r.Method, cmp.Or(r.Host, route.Host), "auth", r.URL.RequestURI(), fields, to)
	x.verbatim, x.prepared = true, true
	return x
}

// questionWait is how long such a request waits for an instance. A new instance is
// ready within that time.
const questionWait = time.Second

// withoutPolicies is the route for such a request: without policies, and with a short
// wait for an instance. Its timeout is a last resort: the caller knows how long it
// waits, and an instance that is slower than that has not failed.
func withoutPolicies(r *router.Route, q *nethttp.Request) *router.Route {
	route := copyRoute(r)
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

// answerReader reads the answer.
type answerReader struct {
	nethttp.Response
	body    []byte
	most    int
	tooLong bool
	ownAnswer
}

var _ Responder = (*answerReader)(nil)

// errAnswerTooLong ends the read of an answer.
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
