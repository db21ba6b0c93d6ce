package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// staleFailure says that the instance has closed an idle connection: the next one is
// tried.
var staleFailure = &upstream.Failure{Err: socket.ErrStale}

// Why an answer is not accepted, besides wire's errors.
var (
	errInterim  = errors.New("the instance sent more 1xx answers than --max-interim allows")
	errSwitched = errors.New("the instance switched to a protocol that was not asked for")
	errUnwanted = errors.New("the client left")
)

// roundTrip sends the request and reads up to the head of its final answer.
func (c *conn) roundTrip(r *upstream.Request, a *upstream.Answer) *upstream.Failure {
	c.upload, c.keepAlive, c.spent, c.enlarge = nil, false, false, false
	c.LimitMemory(r.Memory)
	r.Scratch = wire.AppendRequest(r.Scratch[:0], r.Head)
	body := appendFirst(r)
	sent := a.Now
	c.WriteWithin(sent, r.Bounds.WriteIdle)
	var err error
	if r.Complete {
		c.ReadWithin(sent, r.Answer)
		if err = c.Request(r.Scratch, body, c.reused); err == nil {
			a.Now = time.Now()
			a.FirstByte = a.Now.Sub(sent)
			a.ServiceTime = a.FirstByte
		}
	} else if err = c.WriteBoth(r.Scratch, body); err == nil {
		c.stream(r)
	}
	unsent := unreadBy(err)
	if err == nil || unsent {
		err = c.awaitHead(r, a, sent)
	}
	if err == nil && a.Head.Status == 101 {
		if err = c.finishUpload(); unsent { // the other protocol would begin after what is missing
			err = io.EOF
		}
	}
	switch {
	case err == nil:
		c.begin(r, a)
		c.keepAlive = c.keepAlive && !unsent
		return nil
	case err == socket.ErrStale:
		return staleFailure
	}
	return c.explain(a, err)
}

// unreadBy reports whether a write failed because the instance had closed the connection, so
// that the request was not sent completely. It may have answered before, without reading all
// of it, as with a 413: what has come is still there to be read, and then the end.
func unreadBy(err error) bool {
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return false
	}
	var plain *os.SyscallError
	var secure *net.OpError
	return errors.As(err, &plain) && plain.Syscall == "write" || errors.As(err, &secure) && secure.Op == "write"
}

// awaitHead reads up to the final answer's head and passes 1xx answers on.
func (c *conn) awaitHead(r *upstream.Request, a *upstream.Answer, sent time.Time) error {
	now := sent
	for interims := 0; ; {
		if len(c.Buffered()) > 0 {
			n, err := a.Head.ParseResponse(c.Buffered(), r.Head.Method, r.Bounds.Head)
			switch {
			case err == wire.ErrIncomplete:
			case err != nil:
				return err
			case a.Head.Status == 101 && !switches(&a.Head, r.Head.Upgrade):
				return errSwitched
			case a.Head.Status == 101, a.Head.Status >= 200:
				c.Discard(n)
				return nil
			default:
				if interims++; interims > r.Bounds.Interim {
					return errInterim
				}
				dropHop(&a.Head)
				if err := r.Caller.Interim(&a.Head); err != nil {
					return errUnwanted
				}
				c.Discard(n)
				continue
			}
		}
		c.ReadWithin(now, r.Answer)
		err := c.FillHead()
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.Interrupted() {
			// The instance need not answer before it has the whole request.
			now = time.Now()
			if last := c.upload.LastProgress(); now.Sub(last) < r.Answer {
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
		if a.Now = time.Now(); a.FirstByte == 0 {
			a.FirstByte, a.ServiceTime = a.Now.Sub(sent), c.upload.ServiceTime(sent, a.Now)
		}
	}
}

// begin makes the connection the stream of the answer whose head was read.
func (c *conn) begin(r *upstream.Request, a *upstream.Answer) {
	h := &a.Head
	c.announce(dropHop(h))
	c.spent = unexpected(r.Head)
	c.keepAlive = h.KeepAlive && !c.spent
	if c.rests = 0; h.Declared || string(r.Head.Method) == "HEAD" {
		c.rests = lateBody
	}
	c.body.ResetAnswer(&c.Conn, h.Framing, h.Size, r.Bounds.Head)
	c.enlarge = h.Framing != wire.NoBody && (h.Framing != wire.Length || h.Size > socket.SmallBuffer)
}

// unexpected reports whether it is not known what the instance makes of a request, so that
// the next one on its connection could be read as a part of this one: one for another
// protocol, whatever is answered, or one with a body where none is expected (RFC 9110
// section 9.3.1).
func unexpected(h *wire.OutgoingRequest) bool {
	if len(h.Upgrade) > 0 {
		return true
	}
	if h.Framing == wire.NoBody || h.Framing == wire.Length && h.Size == 0 {
		return false
	}
	switch string(h.Method) {
	case "GET", "HEAD", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// switches reports whether a 101 selects one of the requested protocols (RFC 9110
// section 7.8). If a 101 selects none or another, client and instance might speak
// different protocols.
func switches(h *wire.ResponseHead, asked []byte) bool {
	chosen := wire.Get(h.Fields, "upgrade")
	const most = 8 // protocols above each other; each is looked for among those that were asked for
	return len(asked) > 0 && len(chosen) > 0 && bytes.Count(chosen, []byte(",")) < most && wire.AmongTokens(chosen, asked)
}

// dropHop marks the hop-by-hop fields of an answer (RFC 9110 section 7.6.1), and
// returns the value of its Keep-Alive field.
func dropHop(h *wire.ResponseHead) (keepAlive []byte) {
	for i := range h.Fields {
		switch f := &h.Fields[i]; f.Kind {
		case wire.Connection:
			wire.DropNamed(h.Fields, f.Value)
			f.Kind = wire.Dropped
		case wire.KeepAlive:
			keepAlive = f.Value
			f.Kind = wire.Dropped
		case wire.ProxyConnection, wire.TransferEncoding, wire.TE:
			f.Kind = wire.Dropped
		case wire.Trailer:
			if !wire.OnlyTrailers(f.Value) {
				f.Kind = wire.Dropped
			}
		case wire.Upgrade:
			// RFC 9110 section 15.5.22: a 426 says what to upgrade to.
			if h.Status != 101 && h.Status != 426 {
				f.Kind = wire.Dropped
			}
		}
	}
	return keepAlive
}

// explain turns an error into a Failure.
func (c *conn) explain(a *upstream.Answer, err error) *upstream.Failure {
	processed := upstream.Unknown
	if a.FirstByte > 0 {
		processed = upstream.Answered
	}
	failed := func(k upstream.FailureKind, err error) *upstream.Failure {
		return &upstream.Failure{Kind: k, Processing: processed, Err: err}
	}
	if bodyErr := c.upload.BodyError(); bodyErr != nil {
		return failed(upstream.FailedBody, bodyErr)
	}
	if alert := c.transport.endpoint.LateAlert(c.serverName, err); alert != nil && !c.reused && !c.transport.meshed && processed == upstream.Unknown {
		return failed(upstream.FailedHandshake, alert)
	}
	var refused *wire.Error
	switch {
	case err == errUnwanted:
		return failed(upstream.FailedCaller, err)
	case c.lost.Load():
		return c.unanswered(processed)
	case err == wire.ErrOverloaded:
		return failed(upstream.FailedMemory, err)
	case errors.As(err, &refused):
		return failed(upstream.FailedAnswer, upstream.OtherProtocol(c.Buffered(), c.transport.endpoint.Target().Scheme, err))
	case err == errInterim:
		return failed(upstream.FailedInterim, err)
	case err == errSwitched:
		return failed(upstream.FailedSwitch, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.unanswered(processed)
	case c.transport.meshed && !c.reused && processed == upstream.Unknown:
		return c.refused(err)
	case c.idled >= shortestIdle && processed == upstream.Unknown:
		// An instance that closes connections which have been idle for too long may do
		// so while a request is on its way: that is not its fault, but it cannot be
		// distinguished from an instance that has read the request.
		return failed(upstream.FailedIdle, err)
	}
	return failed(upstream.FailedClosed, err)
}

// shortestIdle is less than any server's timeout for idle connections.
const shortestIdle = 250 * time.Millisecond

// unanswered is the Failure for a wait that timed out, or was interrupted.
func (c *conn) unanswered(p upstream.Processing) *upstream.Failure {
	if !c.lost.Load() {
		return &upstream.Failure{Kind: upstream.FailedTimeout, Processing: p, Err: os.ErrDeadlineExceeded}
	}
	err := fmt.Errorf("%w: it does not acknowledge what it is sent", upstream.ErrConnect)
	c.transport.endpoint.Unreachable(err)
	return &upstream.Failure{Kind: upstream.FailedPath, Processing: p, Err: err}
}

// finishUpload waits until the whole request is sent, because the other protocol begins
// after it (RFC 9110 section 7.8). Each wait within the upload is bounded.
func (c *conn) finishUpload() error {
	u := c.upload
	if u == nil {
		return nil
	}
	<-u.Ended
	if err := u.Err(); err != upstream.ErrNoMore {
		return err
	}
	return io.EOF
}
