package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"serai/proxy/wire"
	"serai/upstream"
)

// failure is why an attempt brought no answer.
type failure struct {
	status int    // what the client is told when there is no further attempt
	reason string // its short code
	err    error
	// unsent says that no byte of the request can have been processed, so
	// that any request may be tried again.
	unsent bool
	// handshake says that the instance accepted a connection, and that TLS
	// failed on it: no byte of the request has left, but another attempt is one
	// of those that are counted.
	handshake bool
	// blame says that the instance accepted the request and failed it.
	blame bool
	// silent says that no byte of an answer came, so that an idempotent
	// request may be tried again.
	silent bool
}

// stale says that an idle connection was of no use: another one is taken.
var stale = &failure{reason: "stale"}

// forward sends the request to a member of the route's pool, and to another
// one as long as that is safe, and relays the answer.
func (p *Proxy) forward(x *Exchange) {
	if limit := x.Route.Options.MaxBody; limit > 0 && x.Head.Size > limit {
		p.answer(x, wire.ErrBodyTooLong.Status, wire.ErrBodyTooLong.Code, wire.ErrBodyTooLong.Detail)
		return
	}
	x.prepare()
	defer p.endRetries(x)
	for {
		m := p.pick(x)
		if m == nil {
			return
		}
		x.Member = m
		f := p.attempt(x, m)
		x.Route.Pool.End(x.Now, m, x.outcome(f))
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

// outcome is what an attempt tells of its instance.
func (x *Exchange) outcome(f *failure) upstream.Outcome {
	o := upstream.Outcome{FirstByte: x.FirstByte, Status: x.Status}
	switch {
	case f == nil:
		if x.Reason == reasonCut {
			o.Failure = x.Reason
		}
	case f.blame:
		o.Failure = f.reason
		if f.handshake {
			o.Failure += ": " + f.err.Error()
		}
		if f.reason == reasonTimeout {
			o.FirstByte = x.Route.Options.Timeout
		}
	}
	return o
}

// maxUnsent bounds the attempts of a request of which nothing was processed.
const maxUnsent = 8

// mayRetry decides whether the request may be tried again. A request that
// cannot have been processed puts no load on anyone, and is bound neither by
// the retries tag nor by the budget: a node that goes down would otherwise fail
// the requests beyond it.
func (p *Proxy) mayRetry(x *Exchange, f *failure) bool {
	switch {
	case x.upload.streaming != nil:
		return false
	case (f.unsent || f.handshake) && x.timeToConnectAgain() <= 0:
		return false
	case f.unsent:
		return x.Retries < maxUnsent
	case !f.silent || !f.handshake && !idempotent(x.Head.Method) || x.repeats >= x.Route.Options.Retries:
		return false
	}
	// A request has its part of the budget from its first repetition to its end.
	if x.repeats == 0 && !p.retrying.Take(1, p.retryLimit()) {
		p.count("retry-budget")
		return false
	}
	x.repeats++
	return true
}

// retryLimit returns how many requests may be repeated at once.
func (p *Proxy) retryLimit() int64 {
	return max(int64(p.options.RetryMin), int64(p.options.RetryShare*float64(p.inflight.Load())))
}

// endRetries gives the budget back.
func (p *Proxy) endRetries(x *Exchange) {
	if x.repeats > 0 {
		p.retrying.Give(1)
	}
}

// idempotent reports whether a method may be repeated (RFC 9110 section 9.2.2).
func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// fail tells the client that the request could not be answered.
func (p *Proxy) fail(x *Exchange, f *failure) {
	p.options.Logger.Debug("request failed", "host", string(x.Head.Host), "route", x.Route.Name,
		"alloc", x.Member.Alloc, "reason", f.reason, "error", f.err)
	if f.status == 0 {
		x.cut(f.reason)
		return
	}
	p.answer(x, f.status, f.reason, f.err.Error())
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
			x.cut("client-gone")
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
	if f == nil && reusable && stillThere && x.upload.complete && len(conn.Buffered()) == 0 {
		m.Endpoint.Put(conn, x.Now)
	} else {
		conn.End()
	}
	if f != nil && f.reason == reasonLost {
		m.Endpoint.Unreachable(f.err)
	}
	if f != nil && !stillThere {
		return &failure{reason: "client-gone", err: errClientGone}
	}
	return f
}

// Short codes of more than one place.
const (
	reasonCut     = "upstream-cut"
	reasonLost    = "upstream-lost"
	reasonTimeout = "upstream-timeout"
)

var errClientGone = errors.New("the client left")

// connect takes an idle connection, or makes one. A request whose body is not
// here yet gets a new one: it could not be repeated if the instance closed an
// idle one at this very moment.
func (p *Proxy) connect(x *Exchange, m *upstream.Member) (*upstream.Conn, *failure) {
	x.startUpload()
	e := m.Endpoint
	if x.Retries == 0 && x.upload.complete && e.Target().ProxyProtocol == 0 && !x.upgrading() {
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
	return x.timeToConnectAgain()
}

func (x *Exchange) timeToConnectAgain() time.Duration {
	return x.Route.Options.Timeout - (x.Now.Sub(x.Start) - x.Queued)
}

// explainDial tells what a connection that could not be made means for the
// client and for a retry: no byte of the request has left.
func (x *Exchange) explainDial(err error) *failure {
	var tls *upstream.HandshakeError
	switch {
	case errors.Is(err, upstream.ErrNoDescriptor):
		return &failure{status: 503, reason: "no-descriptor", err: errors.New("no more connections to instances can be made")}
	case errors.As(err, &tls):
		// A name that the client chose, within a wildcard, is not the instance's
		// fault.
		blame := !tls.OfName || !strings.HasPrefix(x.Route.Host, "*")
		return &failure{status: 502, reason: "tls-failed", handshake: true, blame: blame, silent: true,
			err: fmt.Errorf("no TLS connection to the instance could be made: %s", tls.Cause)}
	}
	return &failure{status: 502, reason: "connect-failed", unsent: true, silent: true, err: errors.New("no connection to the instance could be made")}
}

// roundTrip sends the request over conn and relays the answer. It reports
// whether the instance left the connection in order.
func (p *Proxy) roundTrip(x *Exchange, m *upstream.Member, conn *upstream.Conn) (f *failure, reusable bool) {
	x.out = x.appendHead(x.out[:0], m)
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
	if err == wire.ErrStale {
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
	errInterim  = errors.New("the instance sent too many 1xx answers")
	errSwitched = errors.New("the instance switched protocols without being asked")
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
				if !x.upgrading() {
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
		if err != nil {
			return err
		}
		if x.Now = time.Now(); x.FirstByte == 0 {
			x.FirstByte = x.Now.Sub(sent)
		}
	}
}

// explain tells what an attempt's error means for the client and for a retry.
func (p *Proxy) explain(x *Exchange, conn *upstream.Conn, err error) *failure {
	silent := x.FirstByte == 0
	if uploadErr := x.uploadError(); uploadErr != nil {
		return explainUpload(uploadErr)
	}
	var refused *wire.Error
	switch {
	case err == errClientGone:
		return &failure{reason: "client-gone", err: err}
	case x.cutOff():
		return &failure{status: 502, reason: reasonLost, silent: silent, unsent: conn.Unreceived(x.sent()),
			err: fmt.Errorf("%w: it does not acknowledge what it is sent", upstream.ErrConnect)}
	case errors.As(err, &refused):
		return &failure{status: 502, reason: "bad-answer", blame: true, err: errors.New("the instance's answer is malformed: " + refused.Code)}
	case err == errInterim || err == errSwitched:
		return &failure{status: 502, reason: "bad-answer", blame: true, err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{status: 504, reason: reasonTimeout, blame: true, err: errors.New("the instance did not answer in time")}
	}
	f := &failure{status: 502, reason: "upstream-closed", err: errors.New("the instance closed the connection before it answered"), silent: silent}
	if silent && closed(err) {
		// Most often the instance closed an idle connection while the request
		// was on its way. For a request that must not be repeated its kernel
		// tells: what it did not acknowledge, nobody has read.
		f.unsent = conn.Reused && (idempotent(x.Head.Method) || conn.Unreceived(x.sent())) || unread(err, x.sent())
	}
	f.blame = !f.unsent || !conn.Reused
	return f
}

// unread reports whether an error shows that the instance closed the connection
// without reading a request of n bytes. A reset tells: a connection that is
// closed with everything read ends with a FIN (RFC 1122 section 4.2.2.13). A
// request that is larger than one read may have been read in part.
func unread(err error, n int) bool {
	const oneRead = 4 << 10
	return errors.Is(err, syscall.ECONNRESET) && n <= oneRead
}

// closed reports whether err is how a closed connection shows.
func closed(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
