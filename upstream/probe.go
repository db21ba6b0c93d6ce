package upstream

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// Probing starts fast, since a deploy waits for it, and slows down to once a
// second for an instance that stays away.
const (
	firstProbePause = time.Millisecond
	lastProbePause  = time.Second
	// failedChecks in a row make a ready endpoint not ready.
	failedChecks = 2
)

// look does what e needs now: at first, and after every loss, it is tried until a
// connect (or the check) succeeds; then the check is repeated if there is one. An
// ejected one is left alone until its time is over. It returns after how long e
// is to be looked at again, or that it need not be before it is lost.
func (r *Registry) look(ctx context.Context, e *Endpoint) (after time.Duration, more bool) {
	switch e.State() {
	case Ejected:
		if rest := time.Until(time.Unix(0, e.outlier.until.Load())); rest > 0 {
			return rest, true
		}
		e.setState(Probing, "probed after an ejection")
		return r.try(ctx, e)
	case Probing:
		return r.try(ctx, e)
	case Ready:
		return r.check(ctx, e)
	}
	return 0, false
}

// try probes e, which is not ready.
func (r *Registry) try(ctx context.Context, e *Endpoint) (after time.Duration, more bool) {
	if err := r.probeOnce(ctx, e); err != nil {
		message := err.Error()
		e.cause.Store(&message)
		after = max(e.pause, firstProbePause)
		e.pause = min(after*2, lastProbePause)
		return after, true
	}
	e.pause, e.failed = 0, 0
	r.ready(e)
	return e.nextCheck()
}

// check repeats the check of e, which is ready.
func (r *Registry) check(ctx context.Context, e *Endpoint) (after time.Duration, more bool) {
	if e.target.Check.Path == "" {
		return 0, false
	}
	if err := r.probeOnce(ctx, e); err == nil {
		e.failed = 0
	} else if e.failed++; e.failed >= failedChecks && e.setState(Probing, err.Error()) {
		r.logState(e, "instance fails its check", err)
		return firstProbePause, true
	}
	return e.nextCheck()
}

func (e *Endpoint) nextCheck() (after time.Duration, more bool) {
	if e.target.Check.Path == "" {
		return 0, false
	}
	return jitter(e.target.Check.Interval), true
}

// jitter spreads d by a tenth, so that probes of many do not beat together.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(d/10+1)
}

// probeOnce probes e once.
func (r *Registry) probeOnce(ctx context.Context, e *Endpoint) error {
	if e.target.Check.Path != "" {
		return r.probeHTTP(ctx, e)
	}
	c, err := r.dialer.connect(ctx, &e.target)
	if err != nil {
		return err
	}
	// The first request is spared the connect, unless more than that makes the
	// connection, or thousands of them would be kept at once.
	if e.target.ProxyProtocol == 0 && e.target.Scheme == HTTP && r.prober.spare() {
		e.Put(newConn(c, e), time.Now())
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
