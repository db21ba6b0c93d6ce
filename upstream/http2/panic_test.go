package http2_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	x "golang.org/x/net/http2"

	"serai/internal/memory"
	"serai/upstream"
	"serai/upstream/http2"
)

// planted runs f, which is to panic.
func planted(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("it did not panic")
		}
	}()
	f()
}

// playingOn is playing for who counts connections.
func playingOn(t *testing.T, o http2.Options, play func(p *peer)) (*upstream.Registry, *upstream.Endpoint) {
	t.Helper()
	address := listenAndPlay(t, play)
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: http2.New(o)})
	e := r.Acquire(upstream.Target{Address: address, Scheme: upstream.H2C, Instance: "a"})
	t.Cleanup(func() { r.Release(e) })
	return r, e
}

// TestPanicWhileDialing: a request that panics while it makes a connection leaves nothing
// behind, and those that wait for that connection get another one.
func TestPanicWhileDialing(t *testing.T) {
	r, e := playingOn(t, http2.Options{}, func(p *peer) {
		p.WriteSettings()
		for s := p.request(); s != 0; s = p.request() {
			p.answer(s, true, ":status", "200")
		}
	})
	for round := range 20 {
		bad := request(&asking{}, "GET", "/")
		bad.Bounds, bad.Fresh = nil, true // with which newConn panics
		var all sync.WaitGroup
		if round == 0 {
			planted(t, func() { e.Transport().RoundTrip(bad, &upstream.Answer{}) })
		} else {
			all.Go(func() {
				defer func() { recover() }() // unless another one makes the connection
				var a upstream.Answer
				if e.Transport().RoundTrip(bad, &a) == nil {
					readAll(&a)
				}
			})
		}
		for range 5 {
			all.Go(func() {
				ask := request(&asking{}, "GET", "/")
				ask.Fresh = true
				var a upstream.Answer
				if f := e.Transport().RoundTrip(ask, &a); f != nil {
					t.Errorf("round %d: failed with %+v", round, f)
				} else if got := readAll(&a); got.head.Status != 200 {
					t.Errorf("round %d: answered %+v", round, got)
				}
			})
		}
		all.Wait()
		e.Transport().CloseIdle(time.Now().Add(long), 100)
		until(t, fmt.Sprint("all connections to be closed in round ", round), func() bool { return r.Connections().Open == 0 })
	}
}

// TestPanicWhileReading: where the goroutine that reads a connection panics, that
// connection ends with its requests, and no other.
func TestPanicWhileReading(t *testing.T) {
	var told atomic.Int32
	first := make(chan struct{})
	r, e := playingOn(t, http2.Options{Panicked: func(any, string) { told.Add(1) }}, func(p *peer) {
		p.WriteSettings()
		if p.nth > 0 {
			for s := p.request(); s != 0; s = p.request() {
				p.answer(s, true, ":status", "200")
			}
			return
		}
		p.request() // which is not answered
		close(first)
		large := p.request()
		p.answer(large, false, ":status", "200")
		p.WriteData(large, false, make([]byte, 8192))
		for { // what comes within a second decides, so more comes as long as there is a window
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			if w, ok := f.(*x.WindowUpdateFrame); ok && w.StreamID == large {
				p.WriteData(large, false, make([]byte, min(w.Increment, 16_000)))
			}
		}
	})
	broken := &memory.Client{}
	planted(t, func() { broken.Join(&memory.Budget{}) }) // it panics when it is asked for a large buffer
	waits := make(chan *upstream.Failure)
	go func() { waits <- e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &upstream.Answer{}) }()
	<-first
	large := request(&asking{}, "GET", "/")
	large.Memory = broken
	var a upstream.Answer
	if f := e.Transport().RoundTrip(large, &a); f == nil {
		if got := readAll(&a); got.err == nil {
			t.Errorf("the answer that it panics with: %+v", got)
		}
	}
	if f := <-waits; f == nil || f.Kind != upstream.FailedClosed {
		t.Errorf("the other request of that connection: %+v", f)
	}
	for range 3 {
		if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.head.Status != 200 {
			t.Errorf("the next one is answered %d", got.head.Status)
		}
	}
	until(t, "its connection to be closed", func() bool { return r.Connections().Open == 1 })
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
}
