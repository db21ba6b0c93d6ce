package front_test

import (
	"net"
	"runtime"
	"strings"
	"testing"

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
	if n := workers(); n < 100 {
		t.Fatalf("%d workers for 100 connections", n)
	}
	for _, c := range open {
		c.Close()
	}
	until(t, "the end of most workers", func() bool { return workers() <= 5 })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// workers counts the goroutines that serve connections, or wait for one: others that
// this process has come and go.
func workers() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "front.(*workers).run(")
}
