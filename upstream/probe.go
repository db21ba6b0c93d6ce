package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"serai/internal/history"
	"serai/wire"
	"serai/wire/socket"
)

// An instance that is not ready is probed so often that it is detected within a tenth
// of the time that it takes to start, since a deploy waits for it, and within a tenth
// of a second while that is less than a minute. Later the pause grows to a second, for
// one that stays away.
const (
	shortestPause = time.Millisecond
	startPause    = 100 * time.Millisecond
	startTime     = time.Minute
	longestPause  = time.Second
	// failedChecks in a row make a ready endpoint not ready.
	failedChecks = 2
)

// probePause is the pause after a failed probe of an endpoint that has not been ready
// for this long. A twelfth leaves time for the probe itself.
func probePause(age time.Duration) time.Duration {
	if age < startTime {
		return min(max(age/12, shortestPause), startPause)
	}
	return min(time.Duration(float64(startPause)*(float64(age)/float64(startTime))), longestPause)
}

// probeTimeout bounds the connect of such a probe. An instance that has not answered
// within the time in which it should be detected will answer the next probe: the
// address may have dropped the packets of this one.
func probeTimeout(age, longest time.Duration) time.Duration {
	return min(max(age/10, startPause), longest)
}

// look does what e needs now. At first, and after every loss, it probes until a connect
// (or the check) succeeds; then it repeats the check if there is one. An ejected
// endpoint is left alone until its ejection is over.
func (r *Registry) look(ctx context.Context, e *Endpoint) plan {
	p := e.phase()
	if p.state() == Ejected {
		if rest, ok := e.ejectedFor(); ok {
			return rest
		}
		e.move(p, Probing, "probed after an ejection")
		p = e.phase()
	}
	switch p.state() {
	case Probing:
		return r.try(ctx, e, p)
	case Ready:
		return r.check(ctx, e, p)
	}
	return plan{} // whatever moved it meanwhile has requested another look
}

// try probes e, which is not ready.
func (r *Registry) try(ctx context.Context, e *Endpoint, p phase) plan {
	age := func() time.Duration { return time.Since(e.since.Time()) }
	v := r.examine(ctx, e, probeTimeout(age(), r.dialer.Timeout), freshFor(probePause(age())))
	switch {
	case v == nil:
		return plan{}
	case v.err != nil:
		cause := v.err
		if context.Cause(ctx) == errRecalled {
			cause = errRecalled
		}
		e.lacks.Store(uint32(lacking(v.err)))
		e.explain(p, cause.Error())
		return plan{after: v.rest(probePause(age())), line: repeats(age())}
	}
	e.failed = 0
	r.reached(e, p)
	if rest, ok := e.ejectedFor(); ok && e.State() == Ejected {
		return rest
	}
	return e.nextCheck(v)
}

// ejectedFor is the plan for an ejected endpoint whose time is not over.
func (e *Endpoint) ejectedFor() (plan, bool) {
	rest := time.Until(e.outlier.until.Time())
	return plan{after: rest, line: due}, rest > 0
}

// check repeats the check of e, which is ready. An endpoint without a check is probed
// when a connect was given up early.
func (r *Registry) check(ctx context.Context, e *Endpoint, p phase) plan {
	suspected := e.suspected.Swap(false)
	if e.target.Check.Path == "" && !suspected {
		return plan{}
	}
	fresh := freshFor(e.checkInterval())
	if suspected { // earlier results prove nothing
		fresh = 0
	}
	v := r.examine(ctx, e, r.dialer.Timeout, fresh)
	switch {
	case v == nil:
		if suspected {
			e.suspected.Store(true)
		}
		return plan{}
	case v.err == nil:
		e.failed = 0
	case v.inconclusive(ctx):
		if suspected {
			e.suspected.Store(true)
			return plan{after: startPause, line: due}
		}
	case e.target.Check.Path == "":
		if !localFailure(v.err) {
			e.lost(p, v.err)
		}
	default:
		if e.failed++; e.failed >= failedChecks && e.move(p, Probing, v.err.Error()) {
			r.tell(e, slog.LevelDebug, history.InstanceLost, "instance fails its check", "error", v.err)
			return plan{after: shortestPause, line: due}
		}
	}
	return e.nextCheck(v)
}

func (e *Endpoint) nextCheck(v *result) plan {
	if e.target.Check.Path == "" || e.State() == Leaving {
		return plan{}
	}
	return plan{after: v.rest(jitter(e.checkInterval())), line: due}
}

// checkInterval is the pause before the next check. A failed check is repeated as soon
// as the tags permit.
func (e *Endpoint) checkInterval() time.Duration {
	interval := e.target.Check.Interval
	if e.failed > 0 {
		return interval
	}
	return max(interval, e.minCheckInterval())
}

// jitter varies d by a tenth, so that the probes of many do not coincide.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(d/10+1)
}

// probeOnce probes e once, and bounds the connect by within.
func (r *Registry) probeOnce(ctx context.Context, e *Endpoint, within time.Duration) error {
	if e.target.Check.Path != "" {
		return r.probeHTTP(ctx, e, within)
	}
	if e.target.Peer != (Peer{}) {
		return r.probePeer(ctx, e, within)
	}
	c, err := r.dialer.connect(ctx, &e.target, purpose{probe: true, connect: within})
	if err != nil {
		return err
	}
	// The first request can then use this connection, unless it needs more than TCP, or
	// thousands of connections would be kept at once.
	if e.target.ProxyProtocol == 0 && e.target.Scheme == HTTP && r.prober.lightlyLoaded() && r.dialer.lightlyLoaded() {
		e.transport.Keep(c)
		return nil
	}
	return c.Close()
}

// probeHTTP sends GET to the check's path, exactly as written, over a connection of its
// own. The status decides: the body is not read.
func (r *Registry) probeHTTP(ctx context.Context, e *Endpoint, within time.Duration) error {
	check := &e.target.Check
	timeout := min(check.Timeout, r.options.MaxCheckTime)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	host := check.Host
	if host == "" {
		host = e.target.Address
	}
	if e.target.Scheme.HTTP2() {
		return r.checkHTTP2(ctx, e, host, within, timeout)
	}
	status, err := r.ask(ctx, e, host, within)
	if denied, _ := e.Denied(err); denied != nil {
		err = denied
	}
	if err == nil && (status < check.StatusMin || status > check.StatusMax) {
		err = fmt.Errorf("status %d is not within %d-%d", status, check.StatusMin, check.StatusMax)
	}
	if err != nil {
		scheme := "http"
		if e.target.Scheme.Secure() {
			scheme = "https"
		}
		return fmt.Errorf("check %s://%s%s of %s: %w", scheme, host, check.Path, e.target.Address, err)
	}
	return nil
}

// ask makes the check's request and returns the status of its answer.
func (r *Registry) ask(ctx context.Context, e *Endpoint, host string, within time.Duration) (status int, err error) {
	nc, err := r.dialer.dial(ctx, &e.target, netip.AddrPort{}, e.target.serverName(host), []string{"http/1.1"}, purpose{probe: true, connect: within})
	if err != nil {
		return 0, err
	}
	c := socket.NewConn(nc)
	defer c.End()
	stop := context.AfterFunc(ctx, c.Interrupt)
	defer stop()
	status, err = e.target.Check.exchange(c, host)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer within %v: %w", min(e.target.Check.Timeout, r.options.MaxCheckTime), ctx.Err())
	} else if err != nil {
		err = OtherProtocol(c.Buffered(), e.target.Scheme, err)
	}
	return status, err
}

// maxInterim bounds the 1xx answers before a check's final one.
const maxInterim = 16

// exchange sends the check's request and reads the head of its answer.
func (k *Check) exchange(c *socket.Conn, host string) (status int, err error) {
	request := "GET " + k.Path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: serai-check\r\nConnection: close\r\n\r\n"
	if _, err := c.Write([]byte(request)); err != nil {
		return 0, err
	}
	var h wire.ResponseHead
	for interims := 0; interims <= maxInterim; interims++ {
		n, err := h.ParseResponse(c.Buffered(), []byte("GET"), wire.DefaultLimits())
		for err == wire.ErrIncomplete {
			if err = c.FillHead(); err == nil {
				n, err = h.ParseResponse(c.Buffered(), []byte("GET"), wire.DefaultLimits())
			}
		}
		switch err {
		case nil:
		case wire.ErrBufferFull:
			return 0, wire.ErrHeadLarge
		default:
			return 0, err
		}
		if h.Status >= 200 {
			return h.Status, nil
		}
		c.Discard(n)
	}
	return 0, errors.New("too many 1xx answers")
}
