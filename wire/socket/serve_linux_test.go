package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"serai/internal/memory"
)

// waiting returns how many bytes have come for c, and were not read.
func waiting(t *testing.T, c *Conn) (n int) {
	t.Helper()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestServeReadsAWholeRequest: where a body is expected, head and body come in one read and
// hold memory, which is given back with them; what is smaller than expected holds a small buffer.
func TestServeReadsAWholeRequest(t *testing.T) {
	near, far := pair(t)
	budget := memory.NewBudget(1 << 20)
	var client memory.Client
	client.Join(budget)
	near.LimitMemory(&client)
	near.ExpectWhole(true)
	type seen struct {
		n, buffer int
		held      int64
	}
	reads, done := make(chan seen, 10), make(chan error, 1)
	arrived := make(chan struct{})
	go func() {
		<-arrived
		done <- near.Serve(handlerFunc(func() bool {
			b := near.Buffered()
			reads <- seen{len(b), near.Held(), near.Reserved()}
			near.Discard(len(b))
			return true
		}), time.Second)
	}()
	whole := bytes.Repeat([]byte("x"), LargeBuffer+200)
	if _, err := far.Write(whole); err != nil {
		t.Fatal(err)
	}
	for waiting(t, near) < len(whole) {
		time.Sleep(time.Millisecond)
	}
	close(arrived)
	if got, want := <-reads, (seen{len(whole), WholeBuffer, WholeBuffer}); got != want {
		t.Errorf("head and body: %+v, want %+v", got, want)
	}
	if _, err := far.Write([]byte("small")); err != nil {
		t.Fatal(err)
	}
	if got, want := <-reads, (seen{5, SmallBuffer, 0}); got != want {
		t.Errorf("less than expected: %+v, want %+v", got, want)
	}
	far.Close()
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("it ends with %v", err)
	}
	if taken, refused := budget.Taken(memory.Buffers); taken != 0 || refused != 0 {
		t.Errorf("%d bytes stay taken, %d times refused", taken, refused)
	}
}

// TestServeWithoutMemoryForAWholeRequest: it reads into small buffers then.
func TestServeWithoutMemoryForAWholeRequest(t *testing.T) {
	near, far := pair(t)
	var client memory.Client
	client.Join(memory.NewBudget(WholeBuffer))
	near.LimitMemory(&client)
	near.ExpectWhole(true)
	done := make(chan error, 1)
	total := 0
	go func() {
		done <- near.Serve(handlerFunc(func() bool {
			if near.Held() > SmallBuffer || near.Reserved() > 0 {
				t.Errorf("a buffer of %d bytes with %d held", near.Held(), near.Reserved())
			}
			total += len(near.Buffered())
			near.Discard(len(near.Buffered()))
			return true
		}), time.Second)
	}()
	if _, err := far.Write(make([]byte, LargeBuffer)); err != nil {
		t.Fatal(err)
	}
	far.Close()
	if err := <-done; !errors.Is(err, io.EOF) || total != LargeBuffer {
		t.Errorf("%d bytes came, and then %v", total, err)
	}
}
