package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"serai/policy"
	"serai/router"
	"serai/wire"
)

// fetch asks for a page as a client without a name would: through the route, with its
// policies but for those that answer, and with nothing of the request whose answer shows
// the page, since others will see it, too.
func (s *pages) fetch(key pageKey, r *router.Route) (*page, error) {
	got := &pageReader{pages: s, namespace: key.namespace}
	x := s.request(key, r, got)
	var late atomic.Bool
	timer := time.AfterFunc(s.options.Timeout, func() {
		late.Store(true)
		x.Cancel()
	})
	defer timer.Stop()
	x.Route.Stats.Begin()
	x.observed = true
	s.forward(x)
	if x.observed {
		x.observe()
	}
	err := got.err
	switch {
	case err != nil:
	case late.Load():
		err = errors.New("it did not come in time")
	case !got.whole:
		err = fmt.Errorf("it did not come as a whole (%s)", x.Reason)
	case len(got.body) == 0:
		err = errors.New("it is empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.give(key.namespace, got.taken)
		return nil, err
	}
	body := got.body
	if int64(len(body)) < got.taken { // the buffer has grown
		body = append(make([]byte, 0, len(body)), body...)
	}
	s.give(key.namespace, got.taken-int64(len(body)))
	return &page{Page: got.page, body: body, namespace: key.namespace, users: 1}, nil
}

// forward is Proxy.forward with the end of a panic.
func (s *pages) forward(x *Exchange) {
	defer s.proxy.contain(x)
	s.proxy.forward(x)
}

// request makes the exchange that asks for a page.
func (s *pages) request(key pageKey, r *router.Route, to Responder) *Exchange {
	path, query, has := strings.Cut(key.target, "?")
	host := key.host
	if before, ok := strings.CutPrefix(host, "*"); ok {
		host = "error-pages" + before
	}
	x := &Exchange{Body: noBody{}, Responder: to}
	x.Head = wire.RequestHead{
		Method: []byte("GET"), Target: []byte(key.target), Path: []byte(path), Query: []byte(query), HasQuery: has,
		Host: []byte(host), Minor: 1, KeepAlive: true, Fields: []wire.Field{
			field("Accept", "text/html, */*;q=0.5"), field("User-Agent", "serai"), {Name: namePage, Value: []byte("1")},
		},
	}
	x.Start = time.Now()
	x.Now = x.Start
	x.proto = secureHTTP // so that nobody redirects it to https
	x.fetching, x.admitted, x.logged = true, true, true
	x.Route = s.impatient(r)
	return x
}

// impatient is the route for a request that is not worth waiting for. The timeout is a
// last resort: who did not answer in the time for a page has not failed as an instance.
func (s *pages) impatient(r *router.Route) *router.Route {
	route, common, options := *r, *r.Common, *r.Common.Options
	options.Wait, options.Timeout, options.BodyIdle = 0, 2*s.options.Timeout, 2*s.options.Timeout
	common.Options, route.Common = &options, &common
	return &route
}

// noBody is the body of a request that has none.
type noBody struct{}

var _ Body = noBody{}

func (noBody) Next() ([]byte, error)  { return nil, io.EOF }
func (noBody) Gather() error          { return nil }
func (noBody) Holds() int64           { return 1 }
func (noBody) Ready() bool            { return false }
func (noBody) Done() bool             { return true }
func (noBody) Trailers() []wire.Field { return nil }
func (noBody) Interrupt()             {}

// pageReader takes the answer that is to be a page.
type pageReader struct {
	pages     *pages
	namespace string
	page      policy.Page
	body      []byte
	taken     int64 // of the memory of pages
	passed    int64 // bytes of a body that is no page
	whole     bool
	err       error // why it is none
}

var _ Responder = (*pageReader)(nil)

// Interim implements Responder.
func (r *pageReader) Interim(*wire.ResponseHead) error { return nil }

// Head implements Responder. What is no page is read on, up to the size of one, so that
// its connection can be used again.
func (r *pageReader) Head(h *wire.ResponseHead) error {
	if h.Status != 200 {
		r.err = fmt.Errorf("it is answered with status %d", h.Status)
		return nil
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Kind == wire.Dropped:
		case wire.EqualFold(f.Name, "content-type"):
			r.page.Type = bytes.Clone(f.Value)
		case wire.EqualFold(f.Name, "content-language"):
			r.page.Language = bytes.Clone(f.Value)
		case wire.EqualFold(f.Name, "content-encoding") && len(f.Value) > 0 && !wire.EqualFold(f.Value, "identity"):
			r.err = errors.New("it is encoded, although nobody has asked for that")
			return nil
		}
	}
	if h.Framing != wire.Length {
		return nil
	}
	if h.Size > r.pages.options.MaxBytes {
		r.err = r.pages.errTooLarge()
		return r.err
	}
	return r.grow(int(h.Size))
}

// Write implements Responder.
func (r *pageReader) Write(p []byte) error {
	if r.err != nil {
		if r.passed += int64(len(p)); r.passed > r.pages.options.MaxBytes {
			return r.err
		}
		return nil
	}
	need := len(r.body) + len(p)
	if int64(need) > r.pages.options.MaxBytes {
		r.err = r.pages.errTooLarge()
		return r.err
	}
	if need > cap(r.body) {
		if err := r.grow(max(need, min(2*cap(r.body), int(r.pages.options.MaxBytes)))); err != nil {
			return err
		}
	}
	r.body = append(r.body, p...)
	return nil
}

// grow makes room for a body of so many bytes.
func (r *pageReader) grow(size int) error {
	r.pages.mu.Lock()
	defer r.pages.mu.Unlock()
	if n := int64(size) - r.taken; n > 0 {
		if !r.pages.take(r.namespace, n) {
			r.err = errNoRoom
			return r.err
		}
		r.taken += n
	}
	r.body = append(make([]byte, 0, size), r.body...)
	return nil
}

// Flush implements Responder.
func (*pageReader) Flush() error { return nil }

// Finish implements Responder.
func (r *pageReader) Finish([]wire.Field) error { r.whole = true; return nil }

// Abort implements Responder.
func (r *pageReader) Abort() { r.whole = false }
