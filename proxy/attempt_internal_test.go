package proxy

import (
	"io"
	"testing"
	"time"

	"serai/internal/quota"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// failing answers nothing: the first byte came after that time, or never.
type failing struct {
	upstream.Transport
	firstByte time.Duration
}

func (f *failing) RoundTrip(_ *upstream.Request, a *upstream.Answer) *upstream.Failure {
	a.FirstByte, a.ServiceTime, f.firstByte = f.firstByte, f.firstByte, 0
	return &upstream.Failure{Kind: upstream.FailedConnect, Processing: upstream.NotSent, Err: io.EOF}
}

// TestNextAttempt: an attempt is not told of as if it had the first byte of the one before,
// which another instance sent; and after a wait in which the route has changed, the body is
// bounded by the route that takes the request then.
func TestNextAttempt(t *testing.T) {
	registry := upstream.NewRegistry(upstream.RegistryOptions{Transport: func(*upstream.Endpoint, upstream.Keeping) upstream.Transport {
		return &failing{firstByte: time.Second}
	}})
	m := &upstream.Member{Endpoint: registry.Acquire(upstream.Target{Address: "127.0.0.1:1"})}
	p := &Proxy{}
	p.options.setDefaults()
	route := func(most int64) *router.Route {
		return &router.Route{Common: &router.Common{Options: &router.RouteOptions{MaxBody: most, Timeout: time.Minute}, Stats: router.NewStats(new(quota.Quota))}}
	}
	x := &Exchange{Body: &pieces{rest: make([]byte, 30), size: 10}, Route: route(100)}
	x.Head.Framing, x.Start = wire.Chunked, time.Now()
	x.Now = x.Start
	x.startUpload()
	if o := x.outcome(p.attempt(x, m)); o.FirstByte != time.Second {
		t.Errorf("the first attempt had its first byte after %v", o.FirstByte)
	}
	x.Retries++
	x.Route = route(15)
	if o := x.outcome(p.attempt(x, m)); o.FirstByte != 0 {
		t.Errorf("the second attempt had its first byte after %v", o.FirstByte)
	}
	if _, err := x.upload.Next(); err != wire.ErrBodyTooLong {
		t.Errorf("20 bytes, of which the route takes 15: %v", err)
	}
}
