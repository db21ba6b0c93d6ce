package socket

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"serai/wire"
)

// deadlines records the deadlines that are set.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestDetachKeepsEveryByte whatever the sizes of the two buffers.
func TestDetachKeepsEveryByte(t *testing.T) {
	for _, get := range []func() []byte{getTiny, GetSmall, GetLarge, getHuge} {
		c := NewConn(&deadlines{})
		c.buf = get()
		c.w = len(c.buf)
		if c.w == HugeBuffer {
			takeHuge()
			c.huge.Store(true)
		}
		for i := range c.buf {
			c.buf[i] = byte(i * 7 >> 3)
		}
		c.Discard(1)
		want := bytes.Clone(c.Buffered())
		first := c.Detach()
		second := c.Detach() // a buffer of the size that the first one had
		if !bytes.Equal(c.Buffered(), want) {
			t.Errorf("%d bytes of %d are left, or others", len(c.Buffered()), len(want))
		}
		Put(first)
		Put(second)
		c.Discard(len(want))
		c.Release()
		if n := huge.Taken(); n != 0 {
			t.Errorf("%d huge buffers are still counted", n)
		}
	}
}

// TestMoveNeverShortens: the program panics before a byte is lost.
func TestMoveNeverShortens(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("bytes were lost")
		}
	}()
	c := NewConn(&deadlines{})
	c.buf, c.w = GetSmall(), SmallBuffer
	c.moveTo(getTiny())
}

// TestDeadlinesAreAsLateAsTheyAreLong: a deadline takes effect a tenth late, and at
// most a second; one that moves by less is not set again.
func TestDeadlinesAreAsLateAsTheyAreLong(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 2 * time.Second, 10 * time.Second, 75 * time.Second} {
		to := &deadlines{}
		c := NewConn(to)
		now := time.Now()
		most := min(d/10, time.Second)
		for i := range 20 {
			at := now.Add(d * time.Duration(i) / 20)
			c.ReadWithin(at, d)
			if last := to.set[len(to.set)-1]; last.Before(at.Add(d)) || last.After(at.Add(d+most)) {
				t.Errorf("within %v, asked at %v: %v", d, at.Sub(now), last.Sub(at))
			}
		}
		to.set = nil
		for i := range 11 {
			c.ReadWithin(now.Add(d+most*time.Duration(i)/10), d)
		}
		if len(to.set) != 1 {
			t.Errorf("within %v: set %d times", d, len(to.set))
		}
	}
}

// TestTheFirstWaitHasADeadline: the deadline of a new connection, for which no timer is set while something is here to
// read, ends every kind of wait for more.
func TestTheFirstWaitHasADeadline(t *testing.T) {
	for name, wait := range map[string]func(*Conn) error{
		"Read":  func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"Fill":  func(c *Conn) error { return c.Fill() },
		"Serve": func(c *Conn) error { return c.Serve(handlerFunc(func() bool { return true }), time.Hour) },
		"Serve, after a request": func(c *Conn) error {
			return c.Serve(handlerFunc(func() bool { c.ReadWithin(time.Now(), 20*time.Millisecond); c.Discard(1); return true }), time.Hour)
		},
		"Request": func(c *Conn) error { return c.Request([]byte("x"), nil, false) },
		"Pull": func(c *Conn) error {
			p := NewPipe(pipeFrom)
			if p == nil {
				return os.ErrDeadlineExceeded // this system has no splice
			}
			defer p.Close()
			var body wire.Body
			body.Reset(c, wire.Length, pipeFrom, wire.DefaultLimits())
			_, err := p.Pull(&body, c)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			near.Resume() // no timer is set
			near.ReadWithin(time.Now(), 20*time.Millisecond)
			if strings.HasSuffix(name, "request") {
				far.Write([]byte("x"))
			}
			late := time.AfterFunc(10*time.Second, func() { far.Close() })
			defer late.Stop()
			if err := wait(near); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the wait ends with %v", err)
			}
			// A longer deadline replaces it before it is late.
			near.ReadWithin(time.Now(), time.Hour)
			far.Write([]byte("y"))
			if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("then %d bytes are read: %v", n, err)
			}
		})
	}
}

// TestAnEarlierDeadlineIsReplaced: the deadline that a drain sets on a connection whose request is here already is over
// when more is read, and the one that holds then replaces it.
func TestAnEarlierDeadlineIsReplaced(t *testing.T) {
	for name, set := range map[string]func(*Conn, time.Time) error{"SetReadDeadline": (*Conn).SetReadDeadline, "SetDeadline": (*Conn).SetDeadline} {
		near, far := pair(t)
		near.Resume()
		near.ReadWithin(time.Now(), time.Hour) // no timer is set yet
		set(near, time.Now().Add(-time.Second))
		far.Write([]byte("x"))
		near.ReadWithin(time.Now(), time.Hour)
		if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}
