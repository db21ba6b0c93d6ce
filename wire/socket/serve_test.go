package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// handlerFunc is a Handler for a test.
type handlerFunc func() bool

func (f handlerFunc) Handle() bool { return f() }

// pair returns the two ends of a connection over loopback.
func pair(t *testing.T) (near *Conn, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = NewConn(accepted), c.(*net.TCPConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	near.SetDeadline(time.Now().Add(time.Minute))
	far.SetDeadline(time.Now().Add(time.Minute))
	return near, far
}

// echo serves near until its end, and sends every byte back.
func echo(near *Conn) error {
	return near.Serve(handlerFunc(func() bool {
		b := near.Buffered()
		near.Discard(len(b))
		_, err := near.Write(b)
		return err == nil
	}), time.Second)
}

func TestServeMissesNothing(t *testing.T) {
	for _, size := range []int{1, TinyBuffer - 1, TinyBuffer, TinyBuffer + 1, 3 * TinyBuffer, 10*TinyBuffer + 7} {
		near, far := pair(t)
		done := make(chan error, 1)
		go func() { done <- echo(near) }()
		sent := bytes.Repeat([]byte("x"), size)
		for range 20 {
			if _, err := far.Write(sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(far, make([]byte, size)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		far.CloseWrite()
		if err := <-done; err != io.EOF {
			t.Errorf("%d bytes: %v at the end, not EOF", size, err)
		}
	}
}

// The FIN of a client that closes its side together with its data causes no event of
// its own.
func TestServeSeesTheEndThatCameAlong(t *testing.T) {
	near, far := pair(t)
	far.Write([]byte("hello"))
	far.CloseWrite()
	for near.sys.ok() && !near.PeerGone() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // the poller has reported it by then
	if err := echo(near); err != io.EOF {
		t.Fatalf("%v, not EOF", err)
	}
}

func TestServeWritesMoreThanTheSocketTakes(t *testing.T) {
	near, far := pair(t)
	done := make(chan error, 1)
	answer := make([]byte, 32<<20)
	go func() {
		done <- near.Serve(handlerFunc(func() bool {
			near.Discard(len(near.Buffered()))
			_, err := near.Write(answer)
			return err != nil
		}), time.Second)
	}()
	far.Write([]byte("go"))
	if n, err := io.CopyN(io.Discard, far, int64(len(answer))); err != nil {
		t.Fatalf("%v after %d bytes", err, n)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A handler that reads would wait for itself.
func TestHandlerMustNotRead(t *testing.T) {
	near, far := pair(t)
	far.Write([]byte("hello"))
	var err error
	if got := near.Serve(handlerFunc(func() bool {
		near.Discard(len(near.Buffered()))
		if near.sys.ok() {
			_, err = near.Read(make([]byte, 1))
		} else {
			err = errServing
		}
		return false
	}), time.Second); got != nil || err != errServing {
		t.Fatalf("%v, and the handler got %v", got, err)
	}
}

// TestWriteOfAHandlerEnds although the peer takes nothing, also behind one that left at
// once, and outside the handler.
func TestWriteOfAHandlerEnds(t *testing.T) {
	const d = 50 * time.Millisecond
	full := make([]byte, 16<<20)
	for name, write := range map[string]func(near *Conn) error{
		"large": func(near *Conn) error {
			near.WriteWithin(time.Now(), d)
			_, err := near.Write(full)
			return err
		},
		"large after small": func(near *Conn) error {
			near.WriteWithin(time.Now(), d)
			if _, err := near.Write([]byte("x")); err != nil {
				return err
			}
			near.WriteWithin(time.Now(), d)
			_, err := near.Write(full)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			near.SetWriteDeadline(time.Time{})
			far.Write([]byte("x"))
			var err error
			near.Serve(handlerFunc(func() bool {
				near.Discard(1)
				err = write(near)
				return false
			}), time.Second)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("in the handler: %v", err)
			}
		})
		t.Run(name+" outside", func(t *testing.T) {
			near, far := pair(t)
			near.SetWriteDeadline(time.Time{})
			far.Write([]byte("x"))
			near.Serve(handlerFunc(func() bool {
				near.Discard(1)
				near.WriteWithin(time.Now(), d)
				near.Write([]byte("x"))
				return false
			}), time.Second)
			if err := write(near); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("behind the handler: %v", err)
			}
		})
	}
}
