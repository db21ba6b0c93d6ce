package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// relay hands the answer to the client as it comes, and reports whether the
// instance's connection can carry another request.
func (p *Proxy) relay(x *Exchange, conn *upstream.Conn) (reusable bool) {
	h, r := &x.answer, x.Responder
	conn.Announce(x.filterAnswer())
	x.Status = h.Status
	keepAlive := h.KeepAlive
	if err := r.Head(x.applyAnswer(h, false)); err != nil {
		x.cut(ReasonClientGone)
		return false
	}
	x.sized.Store(h.Framing == wire.Length)
	body := &x.answerBody
	body.ResetAnswer(&conn.Conn, h.Framing, h.Size, p.options.Limits)
	pipe := p.pipe(x, conn, h.Framing, h.Size)
	defer pipe.Close()
	if pipe == nil && h.Framing != wire.NoBody && (h.Framing != wire.Length || h.Size > socket.SmallBuffer) {
		conn.Enlarge()
	}
	idle := x.Route.Options.BodyIdle
	for {
		if !body.Ready() && !body.Done() {
			if err := r.Flush(); err != nil {
				x.cut(ReasonClientGone)
				return false
			}
			now := time.Now()
			x.waiting.Set(now)
			conn.ReadWithin(now, idle)
		}
		var data []byte
		n, err := pipe.Pull(body, &conn.Conn)
		if n == 0 && err == nil {
			data, err = body.Next()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if x.hold(conn) {
				x.cut(ReasonUpstreamCut)
			} else {
				x.cut(ReasonClientGone)
			}
			return false
		}
		if n > 0 {
			client := r.Plain()
			client.WriteWithin(time.Now(), p.options.WriteIdle)
			err = pipe.Drain(client)
		} else {
			n, err = len(data), r.Write(data)
		}
		x.BytesOut += int64(n)
		if err != nil {
			x.cut(ReasonClientGone)
			return false
		}
	}
	if err := r.Finish(filterTrailers(body.Trailers())); err != nil {
		x.Reason = ReasonClientGone.Code()
	}
	return keepAlive
}

// pipe makes the pipe through which a body between conn and the client goes, nil
// where it is copied.
func (p *Proxy) pipe(x *Exchange, conn *upstream.Conn, f wire.Framing, size int64) *socket.Pipe {
	if !p.options.Splice || f != wire.Length || !conn.Plain() || x.Responder.Plain() == nil {
		return nil
	}
	return socket.NewPipe(size)
}

// filterAnswer marks the fields of the answer that belong to the instance's
// connection (RFC 9110 section 7.6.1) or that only serai sends, and returns what
// its Keep-Alive says.
func (x *Exchange) filterAnswer() (keepAlive []byte) {
	fields := x.answer.Fields
	for i := range fields {
		switch f := &fields[i]; f.Kind {
		case wire.Connection:
			dropNamed(fields, f.Value)
			f.Kind = wire.Dropped
		case wire.KeepAlive:
			keepAlive = f.Value
			f.Kind = wire.Dropped
		case wire.ProxyConnection, wire.TransferEncoding, wire.TE, wire.XSeraiReason:
			f.Kind = wire.Dropped
		case wire.Trailer:
			if !wire.OnlyTrailers(f.Value) {
				f.Kind = wire.Dropped
			}
		case wire.Upgrade:
			// RFC 9110 section 15.5.22: a 426 says what to upgrade to.
			if x.answer.Status != 101 && x.answer.Status != 426 {
				f.Kind = wire.Dropped
			}
		}
	}
	return keepAlive
}

// tunnel joins the two connections after a 101.
func (p *Proxy) tunnel(x *Exchange, conn *upstream.Conn) *failure {
	if err := x.finishUpload(); err != nil {
		return p.explain(x, conn, err)
	}
	x.filterAnswer()
	x.waiting.Clear()
	// From here on the tunnel sees both ends itself. One may have been given up
	// just before.
	if stillThere := x.hold(nil); !stillThere {
		x.cut(ReasonClientGone)
		return nil
	}
	if conn.Interrupted() {
		return p.explain(x, conn, os.ErrDeadlineExceeded)
	}
	x.Status, x.Upgraded = 101, true
	in, out, err := x.Responder.Tunnel(x.applyAnswer(&x.answer, false), conn)
	x.BytesIn += in
	x.BytesOut += out
	if err != nil && !errors.Is(err, io.EOF) {
		x.Reason = ReasonTunnelCut.Code()
	}
	return nil
}
