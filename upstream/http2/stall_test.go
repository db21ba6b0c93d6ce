package http2_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"serai/internal/memory"
	"serai/upstream"
	"serai/upstream/http2"
	"serai/wire"
)

// TestInstanceThatReadsNothing: requests over the connection of such an instance end in
// their own time, and before there is much to be kept for it, new ones have another
// connection.
func TestInstanceThatReadsNothing(t *testing.T) {
	reads := make(chan struct{})
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		if p.nth == 0 {
			<-reads
			return
		}
		for s := p.request(); s != 0; s = p.request() {
			p.answer(s, true, ":status", "200")
		}
	})
	defer close(reads)
	const most = 190 // a connection is retired after 200 resets
	for n := 0; ; n++ {
		r := request(&asking{}, "GET", "/")
		r.Head.Fields, r.Answer = []wire.Field{field("x", strings.Repeat("y", 60_000))}, 10*time.Millisecond
		var a upstream.Answer
		f := e.Transport().RoundTrip(r, &a)
		if f == nil {
			readAll(&a)
			break
		}
		if f.Kind != upstream.FailedTimeout {
			t.Fatalf("%d: failed with %+v", n, f)
		}
		if n == most {
			t.Fatal("all have the same connection")
		}
	}
}

// TestInstanceThatReadsLate: many requests share a connection. One that is read late, by an
// instance that has much to do, ends none of them, however much of them waits to be read.
func TestInstanceThatReadsLate(t *testing.T) {
	for name, size := range map[string]int{"in the socket": 3 << 10, "also here": 60 << 10} {
		t.Run(name, func(t *testing.T) {
			const writeIdle, requests = 50 * time.Millisecond, 80
			e := playingWith(t, http2.Options{}, upstream.RegistryOptions{WriteIdle: writeIdle}, func(p *peer) {
				p.WriteSettings()
				time.Sleep(20 * writeIdle)
				for s := p.request(); s != 0; s = p.request() {
					p.answer(s, true, ":status", "200")
				}
			})
			var all sync.WaitGroup
			for range requests {
				all.Go(func() {
					r := request(&asking{}, "POST", "/")
					r.Bounds.WriteIdle = writeIdle
					r.Head.Fields = []wire.Field{field("x", strings.Repeat("y", size))}
					var a upstream.Answer
					if f := e.Transport().RoundTrip(r, &a); f != nil {
						t.Errorf("failed: kind %d, processing %d: %v", f.Kind, f.Processing, f.Err)
						return
					}
					a.Stream.End(true)
				})
			}
			all.Wait()
		})
	}
}

// TestPendingIsBounded: an instance that asks for more and more, and reads nothing, has
// its connection ended: what waits for it to read is bounded.
func TestPendingIsBounded(t *testing.T) {
	for name, ask := range map[string]func(p *peer, id uint32) error{
		"PING":     func(p *peer, _ uint32) error { return p.WritePing(false, [8]byte{}) },
		"SETTINGS": func(p *peer, _ uint32) error { return p.WriteSettings() },
		// Its windows are opened as it is read, whether it is told of them or not.
		"windows": func(p *peer, id uint32) error {
			for range 8 {
				p.WriteDataPadded(id, false, []byte{0}, make([]byte, 255))
			}
			return p.WriteData(id, false, make([]byte, 1024))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				id := p.request()
				p.answer(id, false, ":status", "200")
				for ask(p, id) == nil {
				}
			})
			r := request(&asking{}, "GET", "/")
			r.Memory = &memory.Client{}
			var a upstream.Answer
			if f := e.Transport().RoundTrip(r, &a); f != nil {
				return
			}
			if got := readAll(&a); got.err == nil {
				t.Errorf("a clean end: %+v", got)
			}
		})
	}
}
