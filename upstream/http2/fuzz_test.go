package http2

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// FuzzFrames has an instance send anything to a connection with two requests under
// way, in pieces: nothing panics, no window is exceeded, and what is refused ends.
func FuzzFrames(f *testing.F) {
	head := []byte{0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88}
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 7)
	f.Add(append(bytes.Clone(head), 0, 0, 4, 0, 1, 0, 0, 0, 1, 'b', 'o', 'd', 'y'), 1)
	f.Add(append(bytes.Clone(head), 0, 0, 1, 1, 5, 0, 0, 0, 3, 0x88), 3)
	f.Add([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 9)
	f.Add([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 2)
	f.Add([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 5)
	f.Add(append(bytes.Clone(head), 0, 0, 6, 0, 9, 0, 0, 0, 1, 2, 'x', 'y', 'z', 0, 0), 4)
	f.Add([]byte("\x00\x00\x04\x080\x00\x00\x00\x000000\x00\x00\x04\x080\x00\x00\x00\x00X000"), 5) // a window above the largest
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New(Options{})})
		e := r.Acquire(upstream.Target{Address: "192.0.2.1:80", Instance: "a", Scheme: upstream.H2C})
		defer r.Release(e)
		request := &upstream.Request{
			Head: &wire.OutgoingRequest{Method: []byte("GET"), Target: []byte("/")}, Complete: true, First: make([]byte, 100_000),
			Bounds: &upstream.Bounds{Head: wire.Limits{Head: 4096, Fields: 16}, Interim: 2}, Scratch: []byte{http2.NoTable, 0x82},
		}
		c := e.Transport().(*Transport).newConn(silent{}, "", request)
		c.taken = 2
		c.mu.Lock()
		err := c.take(http2.AppendHeader(nil, 0, http2.SettingsFrame, 0, 0))
		c.mu.Unlock()
		if err != nil || c.state != open {
			t.Fatalf("%v in state %d", err, c.state)
		}
		both := []*stream{c.newStream(), c.newStream()}
		for _, s := range both {
			s.failed = true // it is not used again
			if _, err := s.begin(request, false); err != nil {
				t.Fatal(err)
			}
		}
		piece = max(1, piece%64)
		for len(sent) > 0 && err == nil {
			n := min(piece, len(sent))
			c.mu.Lock()
			err = c.take(bytes.Clone(sent[:n]))
			c.mu.Unlock()
			sent = sent[n:]
		}
		c.mu.Lock()
		if c.sendWindow > http2.MaxWindow || c.window < 0 && err == nil || len(c.out) > mostAnswers+1<<20 {
			t.Errorf("windows %d and %d, %d bytes to send", c.sendWindow, c.window, len(c.out))
		}
		c.fail(io.ErrUnexpectedEOF)
		c.mu.Unlock()
		for _, s := range both {
			s.readBy = time.Unix(1, 0)
			var a upstream.Answer
			for s.nextHead(&a) == nil && a.Head.Status < 200 {
			}
			size := int64(0)
			var err error
			for err == nil {
				var data []byte
				data, err = s.Next()
				size += int64(len(data))
			}
			if size > largeWindow || err == io.EOF && a.Head.Framing == wire.Length && a.Head.Size != size {
				t.Errorf("read %d bytes, %v, of %+v", size, err, a.Head)
			}
			s.End(false)
		}
		if c.taken != 0 || len(c.streams) != 0 {
			t.Errorf("%d and %d streams are left", c.taken, len(c.streams))
		}
	})
}

// silent is a connection that takes everything and says nothing.
type silent struct{}

func (silent) Read([]byte) (int, error)         { return 0, os.ErrDeadlineExceeded }
func (silent) Write(p []byte) (int, error)      { return len(p), nil }
func (silent) Close() error                     { return nil }
func (silent) LocalAddr() net.Addr              { return nil }
func (silent) RemoteAddr() net.Addr             { return nil }
func (silent) SetDeadline(time.Time) error      { return nil }
func (silent) SetReadDeadline(time.Time) error  { return nil }
func (silent) SetWriteDeadline(time.Time) error { return nil }
