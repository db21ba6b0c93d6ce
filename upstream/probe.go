package upstream

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"serai/proxy/wire"
)

// Probing starts fast, since a deploy waits for it, and slows down to once a
// second for an instance that stays away.
const (
	firstProbePause = time.Millisecond
	lastProbePause  = time.Second
	// failedChecks in a row make a ready endpoint not ready.
	failedChecks = 2
)

// probe decides whether e is ready: at first, and after every loss, it tries
// until a connect (or the check) succeeds; then it repeats the check if there
// is one. Without a check it ends then: an endpoint that is merely there has no
// goroutine. An ejected one is left alone until its time is over.
func (r *Registry) probe(ctx context.Context, e *Endpoint) {
	pause := firstProbePause
	failed := 0
	for {
		switch e.State() {
		case Leaving:
			return
		case Probing:
			if err := r.probeOnce(ctx, e); err == nil {
				pause, failed = firstProbePause, 0
				r.ready(e)
				continue
			} else {
				message := err.Error()
				e.cause.Store(&message)
			}
			if !e.sleep(ctx, pause) {
				return
			}
			pause = min(pause*2, lastProbePause)
		case Ejected:
			if rest := time.Until(time.Unix(0, e.outlier.until.Load())); rest <= 0 {
				pause = firstProbePause
				e.setState(Probing, "probed after an ejection")
			} else if !e.sleep(ctx, rest) {
				return
			}
		case Ready:
			if e.target.Check.Path == "" {
				e.probing.Store(false)
				// Lost at this very moment? Then we go on, or somebody else has
				// begun.
				if s := e.State(); s != Probing && s != Ejected || !e.probing.CompareAndSwap(false, true) {
					return
				}
				continue
			}
			if !e.sleep(ctx, jitter(e.target.Check.Interval)) {
				return
			}
			if err := r.probeOnce(ctx, e); err == nil {
				failed = 0
			} else if failed++; failed >= failedChecks && e.setState(Probing, err.Error()) {
				r.logState(e, "instance fails its check", err)
			}
		}
	}
}

// sleep waits for d, or until somebody pokes e. It reports whether ctx goes on.
func (e *Endpoint) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-e.wake:
	case <-t.C:
	}
	return true
}

// jitter spreads d by a tenth, so that probes of many do not beat together.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(d/10+1)
}

// probeOnce takes a slot and probes e once. An endpoint that requests wait for
// is poked, and needs no slot: after a start with thousands of instances it
// does not stand in line.
func (r *Registry) probeOnce(ctx context.Context, e *Endpoint) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-e.wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.target.Check.Path != "" {
		return r.probeHTTP(ctx, e)
	}
	c, err := r.dialer.connect(ctx, &e.target)
	if err != nil {
		return err
	}
	// The first request is spared the connect, unless more than that makes the
	// connection, or thousands of them would be kept at once.
	if e.target.ProxyProtocol == 0 && e.target.Scheme == HTTP && len(r.slots) < cap(r.slots)/2 {
		e.Put(&Conn{Conn: wire.NewConn(c), Endpoint: e}, time.Now())
		return nil
	}
	return c.Close()
}

// probeHTTP sends GET to the check's path over a connection of its own.
func (r *Registry) probeHTTP(ctx context.Context, e *Endpoint) error {
	check := &e.target.Check
	fail := func(err error) error {
		return fmt.Errorf("check http://%s%s: %w", e.target.Address, check.Path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	conn, err := r.dialer.dial(ctx, &e.target, netip.AddrPort{}, "")
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI("http://" + e.target.Address + check.Path)
	request.Header.SetUserAgent("serai-check")
	request.SetConnectionClose()
	if _, err := request.WriteTo(conn); err != nil {
		return fail(err)
	}
	const maxBody = 1 << 20
	if err := response.ReadLimitBody(bufio.NewReader(conn), maxBody); err != nil {
		return fail(err)
	}
	if s := response.StatusCode(); s < check.StatusMin || s > check.StatusMax {
		return fail(fmt.Errorf("status %d is not within %d-%d", s, check.StatusMin, check.StatusMax))
	}
	return nil
}
