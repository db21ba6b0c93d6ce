package proxy

import (
	"bytes"
	"time"

	"serai/router"
	"serai/wire"
)

// An answer with an error may show the page of another service in place of its own body.
// What asks for the page is an exchange as well, of serai itself: see pagefetch.go.

// namePage marks a request for a page, so that no page is asked for in order to answer
// it, however many serai it passes.
var namePage = []byte("X-Serai-Page")

// pageFor returns the page that the answer with that status shows, nil if it keeps its
// own body. It may wait for the page. The caller must let it go.
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

// showsPages reports whether the client may get to see a page. Programs read no pages:
// those that speak gRPC or want another protocol, and those that ask for JSON, for whom
// serai's own answers are JSON, too.
func (x *Exchange) showsPages() bool {
	return !x.fetching && !x.ofGRPC() && !x.asksWeb() && !x.Upgrading() && x.Header("x-serai-page") == nil && !bytes.Contains(x.Header("accept"), []byte("json"))
}

// relayPage sends the head of the instance's answer with a page, throws the instance's
// own body away, and reports whether it has come to its end.
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

// What of a body that nobody wants is read, so that its connection can be used again: a
// small one, if it is here soon. The client has its answer by then, but cannot send
// another request over HTTP/1 before.
const (
	maxDiscarded = 64 << 10
	discardTime  = 250 * time.Millisecond
)

// discard reads the rest of the instance's body, and reports whether it came to its end.
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
