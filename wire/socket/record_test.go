//go:build linux

package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// overTLS returns the two ends of a connection with TLS, and the socket below the far one.
func overTLS(t *testing.T) (near *Conn, client *tls.Conn, far net.Conn) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // which has a certificate
	config := web.TLS.Clone()
	web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := NewTLSListener(l, config).Accept(); err == nil {
			accepted <- c
		}
	}()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	near = NewConn(<-accepted)
	t.Cleanup(func() { near.Close() })
	client = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { client.Close() })
	near.SetDeadline(time.Now().Add(time.Minute))
	client.SetDeadline(time.Now().Add(time.Minute))
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := near.Conn.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return near, client, far
}

// TestAwait: what comes ends the wait, whole or in part, before it or while it lasts, and Serve gets it;
// so does the end of the connection, and of the wait's time.
func TestAwait(t *testing.T) {
	near, client, far := overTLS(t)
	done := make(chan error, 1)
	go func() {
		for {
			err := near.Await()
			if err == nil {
				near.ReadWithin(time.Now(), 100*time.Millisecond)
				err = echo(near)
				near.ReadWithin(time.Now(), time.Minute)
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) || near.Interrupted() {
				done <- err
				return
			}
		}
	}()
	for i, pause := range []time.Duration{0, 0, 200 * time.Millisecond, 0, 300 * time.Millisecond} {
		time.Sleep(pause) // until it is silent, or not
		sent := bytes.Repeat([]byte{byte(i)}, 1+i*5000)
		go client.Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	// The first bytes of a record, and nothing more.
	time.Sleep(200 * time.Millisecond)
	far.Write([]byte{23, 3, 3})
	far.(*net.TCPConn).CloseWrite()
	if err := <-done; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the end within a record is %v", err)
	}
}

// TestAwaitEnds: with its time, when it is interrupted, and with the connection.
func TestAwaitEnds(t *testing.T) {
	for name, end := range map[string]func(near *Conn, far net.Conn){
		"its time":        func(near *Conn, _ net.Conn) { near.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) },
		"an interruption": func(near *Conn, _ net.Conn) { near.Interrupt() },
		"the FIN":         func(_ *Conn, far net.Conn) { far.(*net.TCPConn).CloseWrite() },
		"a reset":         func(_ *Conn, far net.Conn) { far.(*net.TCPConn).SetLinger(0); far.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			near, _, far := overTLS(t)
			waited := make(chan error, 1)
			go func() { waited <- near.Await() }()
			end(near, far)
			if err := <-waited; (err == nil) != (name == "the FIN" || name == "a reset") || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the wait ends with %v", err)
			}
		})
	}
}

// TestRecordsLeave: of what is written at once no record is left behind with the kernel,
// however many there are.
func TestRecordsLeave(t *testing.T) {
	near, client, _ := overTLS(t)
	held := 0
	for range 10 { // the first records are small ones
		for _, size := range []int{1, recordSize, recordSize + 1, 2 * recordSize, oneSegment - 1, oneSegment, oneSegment + 1, 10*recordSize + 7} {
			sent, got := bytes.Repeat([]byte("x"), size), make([]byte, size)
			done := make(chan error, 1)
			go func() {
				_, err := near.Write(sent)
				done <- err
			}()
			if _, err := io.ReadFull(client, got); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes are others", size)
			}
			if near.records.sys.more {
				held++
			}
		}
	}
	if held > 0 {
		t.Errorf("%d times the last record was held back", held)
	}
}

// TestTornRecord: a client that does not read what it is sent, and whose connection ends
// therefore, sees an end, and no record that seems to have been changed on its way.
func TestTornRecord(t *testing.T) {
	for _, size := range []int{100, recordSize} { // the last one is not begun, or cut short
		near, client, _ := overTLS(t)
		near.SetWriteDeadline(time.Now().Add(time.Second))
		var err error
		for err == nil { // until nothing more goes in
			_, err = near.Write(make([]byte, size))
			near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the write fails with %v", err)
		}
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			near.Finish(Lingering{Bytes: 1 << 20, Quiet: 10 * time.Second, Longest: 20 * time.Second})
		}()
		_, err = io.Copy(io.Discard, client)
		if local := (*net.OpError)(nil); errors.As(err, &local) && local.Op == "local error" {
			t.Errorf("records of %d bytes: the client reads its end as %v", size, err)
		}
		<-finished
	}
}
