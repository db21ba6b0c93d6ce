package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// stale says that an idle connection was of no use: another one is taken.
var stale = &failure{reason: "stale"}

// forward sends the request to a member of the route's pool, and to another
// one as long as that is safe, and relays the answer.
func (p *Proxy) forward(x *Exchange) {
	if p.tooLong(x, x.Head.Size) || !p.gather(x) {
		return
	}
	x.startUpload()
	if p.tooLong(x, x.BytesIn) {
		return
	}
	x.via = p.options.Via
	x.prepare()
	if p.looped(x) || p.lastHop(x) {
		return
	}
	defer x.endRetries()
	for {
		m := p.pick(x)
		if m == nil {
			return
		}
		x.Member, x.picked = m, true
		f := p.attempt(x, m)
		x.endPick(x.outcome(f))
		if f == nil {
			return
		}
		x.tried.Add(m.Endpoint)
		if !p.mayRetry(x, f) {
			p.fail(x, f)
			return
		}
		x.Retries++
	}
}

// tooLong answers a request whose body is longer than the route allows, and
// reports whether it is.
func (p *Proxy) tooLong(x *Exchange, size int64) bool {
	limit := x.Route.Options.MaxBody
	if limit == 0 || size <= limit {
		return false
	}
	p.answerWith(x, wire.ErrBodyTooLong.Status, wire.ErrBodyTooLong.Code, wire.ErrBodyTooLong.Detail)
	return true
}

// endPick gives the member's place back.
func (x *Exchange) endPick(o upstream.Outcome) {
	x.picked = false
	x.Route.Pool.End(x.Now, x.Member, o)
}

// outcome is what an attempt tells of its instance.
func (x *Exchange) outcome(f *failure) upstream.Outcome {
	o := upstream.Outcome{FirstByte: x.FirstByte, Status: x.Status}
	switch {
	case f == nil:
		if x.Reason == ReasonUpstreamCut.Code() {
			o.Failure = x.Reason
		}
	case f.blame:
		o.Failure = f.reason
		if f.reason == ReasonHandshakeFailed.Code() {
			o.Failure += ": " + f.err.Error()
		}
		if f.reason == ReasonUpstreamTimeout.Code() {
			o.FirstByte = x.Route.Options.Timeout
		}
	}
	return o
}

// fail tells the client that the request could not be answered.
func (p *Proxy) fail(x *Exchange, f *failure) {
	p.options.Logger.Debug("request failed", "host", string(x.Head.Host), "route", x.Route.Name,
		"alloc", x.Member.Alloc, "reason", f.reason, "error", f.err)
	p.answerFailure(x, f)
}

// answerFailure answers what has failed, or cuts it where no answer is left to give.
func (p *Proxy) answerFailure(x *Exchange, f *failure) {
	if f.status == 0 {
		x.Reason = f.reason
		x.Responder.Abort()
		return
	}
	p.answerWith(x, f.status, f.reason, f.err.Error())
}

// attempt sends the request to m once and relays the answer. Nil means that
// the exchange is over, for good or ill.
func (p *Proxy) attempt(x *Exchange, m *upstream.Member) *failure {
	var conn *upstream.Conn
	var reusable bool
	f := stale
	for f == stale {
		if conn, f = p.connect(x, m); f != nil {
			x.hold(nil)
			return f
		}
		if !x.hold(conn) {
			conn.Close()
			x.cut(ReasonClientGone)
			return nil
		}
		x.waiting.Set(x.Start)
		if f, reusable = p.roundTrip(x, m, conn); f == stale {
			m.Endpoint.Stale(conn, time.Now())
		}
	}
	x.waiting.Clear()
	stillThere := x.hold(nil)
	x.stopUpload(conn)
	x.Now = time.Now()
	if f == nil && reusable && stillThere && x.upload.complete && len(conn.Buffered()) == 0 && !conn.Interrupted() {
		m.Endpoint.Put(conn, x.Now)
	} else {
		conn.End()
	}
	if f != nil && f.reason == ReasonUpstreamLost.Code() {
		m.Endpoint.Unreachable(f.err)
	}
	if f != nil && !stillThere {
		return ReasonClientGone.failure(errClientGone)
	}
	return f
}

// shortestIdle is less than any server's timeout of idle connections.
const shortestIdle = 250 * time.Millisecond

var errClientGone = errors.New("the client left")

// connect takes an idle connection, or makes one. A request whose body is not
// here yet gets a new one: it could not be repeated if the instance closed an
// idle one at this very moment.
func (p *Proxy) connect(x *Exchange, m *upstream.Member) (*upstream.Conn, *failure) {
	e := m.Endpoint
	if x.Retries == 0 && x.upload.complete && e.Target().ProxyProtocol == 0 && !x.Upgrading() {
		if c := e.Get(x.Now, x.Head.Host); c != nil {
			return c, nil
		}
	}
	client := netip.AddrPort{}
	if e.Target().ProxyProtocol != 0 {
		client = netip.AddrPortFrom(x.Client, x.Peer.Port())
	}
	began := x.Now
	ctx, cancel := context.WithTimeout(context.Background(), x.timeToConnect())
	defer cancel()
	c, err := e.Dial(ctx, client, string(x.Head.Host))
	x.Now = time.Now()
	x.Connected = x.Now.Sub(began)
	if err != nil {
		return nil, x.explainDial(err)
	}
	return c, nil
}

// timeToConnect is what is left of the route's time to make a connection, all
// attempts together. The first has it all, and the wait for an instance does not
// count.
func (x *Exchange) timeToConnect() time.Duration {
	if x.Retries == 0 {
		return x.Route.Options.Timeout
	}
	return x.timeLeft()
}

// timeLeft is what is left of the route's timeout, over all attempts; the wait for
// an instance, and for a small body, does not count.
func (x *Exchange) timeLeft() time.Duration {
	return x.Route.Options.Timeout - (x.Now.Sub(x.Start) - x.Queued - x.Gathered)
}

// explainDial tells what a connection that could not be made means for the
// client and for a retry: no byte of the request has left.
func (x *Exchange) explainDial(err error) *failure {
	var tls *upstream.HandshakeError
	switch {
	case errors.Is(err, upstream.ErrNoDescriptor):
		// Another instance would need one, too.
		return ReasonNoDescriptor.failure(nil)
	case errors.As(err, &tls):
		// A name that the client chose, within a wildcard, is not the instance's
		// fault.
		blame := !tls.OfName || !strings.HasPrefix(x.Route.Host, "*")
		f := ReasonHandshakeFailed.failure(fmt.Errorf("no TLS connection to the instance could be made: %s", tls.Cause)).with(notSent, blame)
		f.counted = true
		return f
	}
	return ReasonConnectFailed.failure(nil).with(notSent, false)
}

// roundTrip sends the request over conn and relays the answer. It reports
// whether the instance left the connection in order.
func (p *Proxy) roundTrip(x *Exchange, m *upstream.Member, conn *upstream.Conn) (f *failure, reusable bool) {
	x.out = wire.AppendRequest(x.out[:0], x.outgoing(m))
	x.out, x.outBody = x.appendFirst(x.out)
	sent := x.Now
	conn.WriteWithin(sent, p.options.WriteIdle)
	var err error
	if x.upload.complete {
		conn.ReadWithin(sent, x.Route.Options.Timeout)
		if err = conn.Request(x.out, x.outBody, conn.Reused); err == nil {
			x.Now = time.Now()
			x.FirstByte = x.Now.Sub(sent)
		}
	} else if err = conn.WriteBoth(x.out, x.outBody); err == nil {
		p.stream(x, conn)
	}
	if err == nil {
		err = p.awaitHead(x, conn, sent)
	}
	if err == socket.ErrStale {
		return stale, false
	}
	if err != nil {
		return p.explain(x, conn, err), false
	}
	if x.answer.Status == 101 {
		return p.tunnel(x, conn), false
	}
	return nil, p.relay(x, conn)
}

// Why an answer is not accepted, beside wire's errors.
var (
	errInterim  = errors.New("the instance sent more 1xx answers than --max-interim allows")
	errSwitched = errors.New("the instance switched to a protocol that was not asked for")
)

// awaitHead reads up to the final answer's head and passes 1xx answers on.
func (p *Proxy) awaitHead(x *Exchange, conn *upstream.Conn, sent time.Time) error {
	timeout := x.Route.Options.Timeout
	now := sent
	for interims := 0; ; {
		if len(conn.Buffered()) > 0 {
			n, err := x.answer.ParseResponse(conn.Buffered(), x.Head.Method, p.options.Limits)
			switch {
			case err == wire.ErrIncomplete:
			case err != nil:
				return err
			case x.answer.Status == 101:
				if !x.switches(&x.answer) {
					return errSwitched
				}
				conn.Discard(n)
				return nil
			case x.answer.Status >= 200:
				conn.Discard(n)
				return nil
			default:
				if interims++; interims > p.options.MaxInterim {
					return errInterim
				}
				x.filterAnswer()
				if x.Head.Minor == 1 {
					if err := x.Responder.Interim(&x.answer); err != nil {
						return errClientGone
					}
				}
				conn.Discard(n)
				continue
			}
		}
		conn.ReadWithin(now, timeout)
		err := conn.FillLine()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// The instance need not answer before it has the whole request.
			now = time.Now()
			if last := x.lastUploaded(); now.Sub(last) < timeout && x.uploadError() == nil && x.hold(conn) {
				now = last
				continue
			}
		}
		switch err {
		case nil:
		case wire.ErrBufferFull:
			return wire.ErrHeadLarge
		default:
			return err
		}
		if x.Now = time.Now(); x.FirstByte == 0 {
			x.FirstByte = x.Now.Sub(sent)
		}
	}
}

// explain tells what an attempt's error means for the client and for a retry.
func (p *Proxy) explain(x *Exchange, conn *upstream.Conn, err error) *failure {
	if uploadErr := x.uploadError(); uploadErr != nil {
		return explainUpload(uploadErr)
	}
	processed := unknown
	if x.FirstByte > 0 {
		processed = settled
	}
	var refused *wire.Error
	var field *wire.FieldError
	switch {
	case err == errClientGone:
		return ReasonClientGone.failure(err)
	case x.cutOff():
		return ReasonUpstreamLost.failure(fmt.Errorf("%w: it does not acknowledge what it is sent", upstream.ErrConnect)).with(processed, false)
	case errors.As(err, &field):
		return ReasonBadAnswer.failure(errors.New("the instance's answer is malformed: "+field.Err.Code+" in "+field.Where())).with(settled, true)
	case errors.As(err, &refused):
		return ReasonBadAnswer.failure(errors.New("the instance's answer is malformed: "+refused.Code)).with(settled, true)
	case err == errInterim:
		return ReasonTooManyInterim.failure(err).with(settled, true)
	case err == errSwitched:
		return ReasonBadAnswer.failure(err).with(settled, true)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonUpstreamTimeout.failure(nil).with(processed, true)
	}
	// An instance that closes connections which have been idle for too long may do
	// so while a request is on its way: that is not its fault, though nobody can
	// tell it from an instance that has read the request.
	timedOut := conn.Idled >= shortestIdle && processed == unknown
	return ReasonUpstreamClosed.failure(nil).with(processed, !timedOut)
}
