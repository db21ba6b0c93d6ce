package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"serai/upstream"
	"serai/wire/socket"
)

// tunnel is an exchange that copies bytes both ways, after a 101.
type tunnel struct {
	client, instance upstream.Duplex
	idle             time.Duration
	last             socket.Moment // when the last byte came, from either side
	over             atomic.Bool   // both sides are interrupted
	drained          atomic.Bool   // by EndTunnel
}

// tunnel joins the two sides. Nil means that the exchange is over.
func (p *Proxy) tunnel(x *Exchange) *failure {
	a := &x.answer
	defer func() { x.Now = a.Stream.End(false) }()
	// From here on the tunnel notices the end of both sides itself. The client may have
	// left just before.
	if !x.releaseStream() {
		x.cut(ReasonClientGone)
		return nil
	}
	instance, failed := a.Stream.(upstream.Tunneler).Tunnel()
	if failed != nil {
		return x.explain(failed)
	}
	dropOwn(&a.Head)
	x.Status, x.Upgraded = 101, true
	client, err := x.Responder.(Tunneler).Tunnel(x.applyAnswer(&a.Head, false))
	if err == nil {
		err = p.join(x, &tunnel{client: client, instance: instance, idle: p.options.TunnelIdle})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		x.Reason = ReasonTunnelCut.Code()
	}
	return nil
}

// join copies both ways until both sides have closed, one fails, or the tunnel was idle
// for too long. It passes on the end of one direction alone, since the other may go on.
func (p *Proxy) join(x *Exchange, t *tunnel) error {
	t.touch()
	x.setTunnel(t)
	defer x.setTunnel(nil)
	var wg sync.WaitGroup
	var in, out int64
	var inErr, outErr error
	wg.Go(func() { in, inErr = p.copy(x, t, t.instance, t.client) })
	out, outErr = p.copy(x, t, t.client, t.instance)
	wg.Wait()
	x.BytesIn += in
	x.BytesOut += out
	if t.drained.Load() {
		return nil
	}
	// A failure must not look like a proper end to either side.
	if broken(outErr) || broken(inErr) {
		t.client.Abort()
		t.instance.Abort()
	}
	return errors.Join(outErr, inErr)
}

func broken(err error) bool {
	return err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded)
}

// copy copies in one direction, and ends both directions if that fails or panics:
// neither may go on when the exchange is over, since its objects are reused.
func (p *Proxy) copy(x *Exchange, t *tunnel, dst, src upstream.Duplex) (n int64, err error) {
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	defer p.containCopy(x, &err)
	return t.copy(dst, src)
}

// containCopy is contain for one direction of a tunnel.
func (p *Proxy) containCopy(x *Exchange, err *error) {
	if cause := recover(); cause != nil {
		p.Panicked(cause, x)
		p.Count(ReasonPanic)
		*err = errors.Join(*err, fmt.Errorf("panic: %v", cause))
	}
}

// setTunnel sets the tunnel that EndTunnel ends, nil for none.
func (x *Exchange) setTunnel(t *tunnel) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tunnel = t
}

// EndTunnel ends the exchange's tunnel properly in both directions, and reports whether
// there was one. Other goroutines may call it.
func (x *Exchange) EndTunnel() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tunnel == nil {
		return false
	}
	x.tunnel.drained.Store(true)
	x.tunnel.end()
	return true
}

// end ends both directions.
func (t *tunnel) end() {
	t.over.Store(true)
	t.client.Interrupt()
	t.instance.Interrupt()
}

// touch records that a byte came just now.
func (t *tunnel) touch() time.Time {
	now := time.Now()
	t.last.Set(now)
	return now
}

// copy sends everything from src to dst, and then closes dst's sending side.
func (t *tunnel) copy(dst, src upstream.Duplex) (n int64, err error) {
	b := socket.GetSmall()
	defer socket.Put(b)
	for {
		src.ReadWithin(t.last.Time(), t.idle)
		got, err := src.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) && !t.over.Load() && time.Since(t.last.Time()) < t.idle {
			continue // the other direction was not idle
		}
		if got > 0 {
			dst.WriteWithin(t.touch(), t.idle)
			if _, err := dst.Write(b[:got]); err != nil {
				return n, err
			}
			n += int64(got)
		}
		switch err {
		case nil:
		case io.EOF:
			return n, dst.CloseWrite()
		default:
			return n, err
		}
	}
}
