package proxy

import (
	"bytes"
	"time"

	"serai/router"
	"serai/wire"
)

// An answer with an error may show the page of another service in place of its own body.
// serai requests the page with an exchange of its own: see pagefetch.go.

// namePage is the field that marks a request for a page. The answer to such a request
// shows no page, however many serai it passes.
var namePage = []byte("X-Serai-Page")

// pageFor returns the page that an answer with that status shows, nil if the answer
// keeps its own body. It may wait for the page. The caller must release the page.
func (p *Proxy) pageFor(x *Exchange, status int) *page {
	if x.Route == nil {
		return nil
	}
	e := x.Route.Policies.Errors(status)
	if e == nil || !x.showsPages() {
		return nil
	}
	passed := x.Route.Policies
	if !x.admitted {
		passed = nil
	}
	target := e.AppendTarget(nil, status)
	path, query, _ := bytes.Cut(target, []byte{'?'})
	q := router.Query{Method: []byte("GET"), Path: path, RawQuery: query}
	route, why := p.options.Router.Current().PageRoute(x.Route, e, &q, passed)
	if route == nil {
		p.pages.miss(x, e, string(why))
		return nil
	}
	return p.pages.get(x, route, string(target))
}

// showsPages reports whether the client may get a page. Programs read no pages: neither
// those that speak gRPC or want another protocol, nor those that ask for JSON, which
// serai's own answers then are.
func (x *Exchange) showsPages() bool {
	return !x.own && !x.ofGRPC() && !x.asksWeb() && !x.Upgrading() && x.Header("x-serai-page") == nil && !bytes.Contains(x.Header("accept"), []byte("json"))
}

// relayPage sends the head of the instance's answer with a page, discards the
// instance's own body, and reports whether that body ended properly.
func (p *Proxy) relayPage(x *Exchange, shown *page) (whole bool) {
	h := &x.answer.Head
	framing, size := h.Framing, h.Size
	dropOwn(h)
	x.sized.Store(true)
	if err := x.sendPage(h, false, shown); err != nil {
		x.cut(ReasonClientGone)
		return false
	}
	return x.discard(framing, size)
}

// sendPage sends a head with a page.
func (x *Exchange) sendPage(h *wire.ResponseHead, own bool, shown *page) error {
	x.phases.page = &shown.Page
	defer func() { x.phases.page = nil }()
	return x.sendWhole(h, own, shown.body)
}

// An unwanted body is read to its end if it is small and arrives soon, so that its
// connection can be reused. The client has its answer by then, but can send no other
// request over HTTP/1 before that.
const (
	maxDiscarded = 64 << 10
	discardTime  = 250 * time.Millisecond
)

// discard reads the rest of the instance's body, and reports whether it ended properly.
func (x *Exchange) discard(framing wire.Framing, size int64) (whole bool) {
	if framing == wire.UntilEOF || framing == wire.Length && size > maxDiscarded {
		return false
	}
	body, got := x.answer.Stream, 0
	by := time.Now().Add(discardTime)
	for !body.Done() {
		if !body.Ready() {
			now := time.Now()
			if !now.Before(by) {
				return false
			}
			body.ReadWithin(now, by.Sub(now))
		}
		data, err := body.Next()
		if got += len(data); err != nil || got > maxDiscarded {
			return body.Done()
		}
	}
	return true
}
