package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"serai/policy"
	"serai/router"
	"serai/wire"
)

// ask fetches a page like a client without a name: through the route, with its policies
// except those that answer, and with nothing of the request whose answer shows the
// page, since others will see it, too.
func (s *pages) ask(key pageKey, r *router.Route) (*page, error) {
	got := &pageReader{pages: s, namespace: key.namespace}
	x := s.request(key, r, got)
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeout)
	defer cancel()
	s.proxy.serveOwn(ctx, x)
	err := got.err
	switch {
	case err != nil:
	case ctx.Err() != nil:
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

// request makes the exchange that fetches a page.
func (s *pages) request(key pageKey, r *router.Route, to Responder) *Exchange {
	return ownRequest(s.withoutWait(r), "GET", key.host, "error-pages", key.target, []wire.Field{
		field("Accept", "text/html, */*;q=0.5"), field("User-Agent", "serai"), {Name: namePage, Value: []byte("1")},
	}, to)
}

// withoutWait is the route for a request that must not wait. Its timeout is a last
// resort: an instance that is slower than the time for a page has not failed.
func (s *pages) withoutWait(r *router.Route) *router.Route {
	route := copyRoute(r)
	o := route.Options
	o.Wait, o.Timeout, o.BodyIdle = 0, 2*s.options.Timeout, 2*s.options.Timeout
	return route
}

// pageReader reads the answer to a request for a page.
type pageReader struct {
	pages     *pages
	namespace string
	page      policy.Page
	body      []byte
	taken     int64 // memory that the body takes
	passed    int64 // bytes read of a body that is not used
	ownAnswer
	err error // why there is no page
}

var _ Responder = (*pageReader)(nil)

// Head implements Responder. An unusable body is read, too, up to the size of a page,
// so that its connection can be reused.
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

// grow makes room for a body of that size.
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
