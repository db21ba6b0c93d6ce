package front_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"serai/front"
)

// TestIdleWorkersEnd: what a burst of connections has needed is given back when no
// more come, while the listener goes on.
func TestIdleWorkersEnd(t *testing.T) {
	s, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": &echoes{}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), l) }()
	before := runtime.NumGoroutine()
	var open []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		c.Read(make([]byte, 1))
		open = append(open, c)
	}
	if n := runtime.NumGoroutine(); n < before+100 {
		t.Fatalf("%d goroutines for 100 connections, %d before", n, before)
	}
	for _, c := range open {
		c.Close()
	}
	for began := time.Now(); runtime.NumGoroutine() > before+5; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > long {
			t.Fatalf("%d goroutines are left, %d before", runtime.NumGoroutine(), before)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
