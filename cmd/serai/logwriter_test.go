package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"serai/nomad"
	"serai/nomad/nomadtest"
)

// gate is a writer that hangs while it is shut.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	text strings.Builder
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(p)
}

// TestLogWriter: a line is written when Write returns, unless the writer hangs; then
// whoever logs waits once, and what has no room is counted and told of.
func TestLogWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		var told []uint64
		l := newLogWriter(g, func(n uint64) { told = append(told, n) })
		const beyond = 10
		began := time.Now()
		for i := range 1 + logQueue + beyond { // one of them is being written
			fmt.Fprintf(l, "%d\n", i)
			synctest.Wait()
		}
		if took := time.Since(began); took != logWait {
			t.Errorf("a writer that hangs held those who log for %v, want %v", took, logWait)
		}
		if n := l.Lost(); n != beyond {
			t.Errorf("%d lines are lost, want %d", n, beyond)
		}
		close(g.open)
		synctest.Wait()
		if n := strings.Count(g.text.String(), "\n"); n != 1+logQueue {
			t.Errorf("%d lines have been written, want %d", n, 1+logQueue)
		}
		if len(told) != 1 || told[0] != beyond {
			t.Errorf("it was told of %v lost lines, want %d once", told, beyond)
		}
		fmt.Fprintln(l, "after")
		if !strings.HasSuffix(g.text.String(), "after\n") {
			t.Error("a line has not been written when Write returned")
		}
		l.close()
		fmt.Fprintln(l, "too late, and no panic")
	})
}

// TestNobodyReadsStandardError: the log has no reader, and no room: changes and requests
// go on, and so does the stop.
func TestNobodyReadsStandardError(t *testing.T) {
	t.Parallel()
	web := instance(t, "web", "ingress.host=web.example.org")
	sim, url, _ := nomadtest.Simulator(t, web)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := bare(t)
	n.stderr = w
	n.run([]string{"NOMAD_ADDR=" + url}, "--log-level=DEBUG")
	w.Close()
	until(t, "the service", func() bool { status, _ := get(n.http, "web.example.org", "/"); return status == 200 })
	for i := range 500 { // more than a pipe holds
		sim.Register(nomad.Registration{ServiceName: fmt.Sprint("bad", i), Address: web.Address, Port: web.Port, Tags: []string{"ingress.host=" + strings.Repeat("-", 150)}})
	}
	sim.Register(nomad.Registration{ServiceName: "late", Address: web.Address, Port: web.Port, Tags: []string{"ingress.host=late.example.org"}})
	until(t, "a change", func() bool { status, _ := get(n.http, "late.example.org", "/"); return status == 200 })
	n.kill(syscall.SIGTERM)
}
