package http1

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"serai/front"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// Tunnel sends the 101 and then copies both ways until both ends have closed,
// one fails, or neither has said anything for the tunnel's idle time. The end
// of one direction is passed on alone: the other may go on.
func (a *answer) Tunnel(h *wire.ResponseHead, to *upstream.Conn) (in, out int64, err error) {
	c := a.conn
	a.close, a.ended = true, true
	// The request is logged when the tunnel has ended: its head must outlive
	// the buffer that the tunnel gives back. With a body it has one of its own.
	if c.session.body.head == nil {
		c.session.body.head = c.wire.Detach()
	}
	a.statusLine(h.Status, h.Reason)
	a.out = wire.AppendFields(a.out, h.Fields)
	a.out = append(a.out, "Connection: Upgrade\r\n\r\n"...)
	if err := a.Flush(); err != nil {
		return 0, 0, err
	}
	t := &tunnel{idle: c.engine.options.TunnelIdle}
	t.touch()
	end := func() {
		t.over.Store(true)
		c.wire.Interrupt()
		to.Interrupt()
	}
	c.mu.Lock()
	c.tunnel = func() { t.drained.Store(true); end() }
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.tunnel = nil
		c.mu.Unlock()
	}()

	var wg sync.WaitGroup
	var inErr error
	wg.Go(func() {
		defer func() {
			if inErr != nil {
				end()
			}
		}()
		defer c.containCopy(c.session, &inErr)
		in, inErr = t.copy(&to.Conn, c.wire)
	})
	if out, err = t.copy(c.wire, &to.Conn); err != nil {
		end()
	}
	wg.Wait()
	if t.drained.Load() {
		return in, out, nil
	}
	// What ends a tunnel other than its end and its time is not to look like
	// its end, to neither side.
	if broken(err) || broken(inErr) {
		c.ending = front.Reset
		to.Abort()
	}
	return in, out, errors.Join(err, inErr)
}

func broken(err error) bool {
	return err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded)
}

// tunnel is what its two directions share.
type tunnel struct {
	idle    time.Duration
	last    socket.Moment // of the last byte, either way
	over    atomic.Bool   // both connections are interrupted
	drained atomic.Bool   // by a drain
}

func (t *tunnel) touch() time.Time {
	now := time.Now()
	t.last.Set(now)
	return now
}

// copy sends everything from src to dst, what src has buffered first, and then
// closes dst's sending side.
func (t *tunnel) copy(dst, src *socket.Conn) (n int64, err error) {
	b := socket.GetSmall()
	defer socket.Put(b)
	for {
		data := src.Buffered()
		if len(data) > 0 {
			src.Discard(len(data))
		} else {
			src.Release()
			src.ReadWithin(t.last.Time(), t.idle)
			got, err := src.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) && !t.over.Load() && time.Since(t.last.Time()) < t.idle {
				continue // the other direction was busy
			}
			if err == io.EOF {
				if w, ok := dst.Conn.(interface{ CloseWrite() error }); ok {
					return n, w.CloseWrite()
				}
				return n, io.EOF
			}
			if err != nil {
				return n, err
			}
			data = b[:got]
		}
		dst.WriteWithin(t.touch(), t.idle)
		if _, err := dst.Write(data); err != nil {
			return n, err
		}
		n += int64(len(data))
	}
}
