//go:build linux

package socket

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// TestRecordsLeave: of what is written at once no record is left behind with the kernel,
// however many there are.
func TestRecordsLeave(t *testing.T) {
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
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near := NewConn(<-accepted)
	defer near.Close()
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	defer client.Close()
	near.SetDeadline(time.Now().Add(time.Minute))
	client.SetDeadline(time.Now().Add(time.Minute))
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
