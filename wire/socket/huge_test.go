package socket

import (
	"io"
	"net"
	"testing"

	"serai/wire"
)

// TestHugeBuffersAreFew reads many large bodies at once: some get a huge buffer, and
// all of these are returned, by connections that read to the end and by those that are
// closed in the middle.
func TestHugeBuffersAreFew(t *testing.T) {
	const size, conns = 2 * pipeFrom, hugeAtOnce + 6
	bodies := make([]*wire.Body, conns)
	sources := make([]*Conn, conns)
	for i := range bodies {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close() })
		go func() {
			defer far.Close()
			b := make([]byte, LargeBuffer)
			for n := 0; n < size; n += len(b) {
				if _, err := far.Write(b); err != nil {
					return
				}
			}
		}()
		c := NewConn(near)
		bodies[i], sources[i] = &wire.Body{}, c
		bodies[i].Reset(c, wire.Length, size, wire.DefaultLimits())
		for n := 0; n < pipeFrom+LargeBuffer; {
			data, err := bodies[i].Next()
			if err != nil {
				t.Fatal(err)
			}
			n += len(data)
		}
	}
	if n := huge.Taken(); n != hugeAtOnce {
		t.Errorf("%d huge buffers are taken, want %d", n, hugeAtOnce)
	}
	for i, b := range bodies {
		if i%2 == 0 {
			sources[i].Close()
			sources[i].Close()
			continue
		}
		for {
			if _, err := b.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		sources[i].Release()
	}
	if n := huge.Taken(); n != 0 {
		t.Errorf("%d huge buffers are still taken", n)
	}
}
