package socket

import (
	"bytes"
	"net"
	"testing"
	"time"
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
