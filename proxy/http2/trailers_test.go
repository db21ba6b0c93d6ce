package http2_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"serai/internal/memory"
	engine "serai/proxy/http2"
)

// sendTrailers sends so many fields of 900 bytes as the trailers of a stream.
func (p *peer) sendTrailers(id uint32, fields int) {
	var pairs []string
	for i := range fields {
		pairs = append(pairs, fmt.Sprint("x-", i), strings.Repeat("v", 900))
	}
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.Block(pairs...), EndHeaders: true, EndStream: true})
}

// TestLargeTrailersTakeMemory: those that are larger than most are kept as long as their
// request is under way, and count; where there is no memory for them it is refused.
func TestLargeTrailersTakeMemory(t *testing.T) {
	const fields = 15 // in one frame
	over := make(chan struct{})
	end := sync.OnceFunc(func() { close(over) })
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			<-over
			return
		}
		io.Copy(io.Discard, r.Body)
	}
	t.Run("there is memory", func(t *testing.T) {
		b := memory.NewBudget(64 << 20)
		k := newStackWithin(t, b, engine.Options{}, serve)
		t.Cleanup(end)
		p := k.dial()
		p.post(1, "/", "te", "trailers")
		p.sendTrailers(1, fields)
		if status, _, _, whole := p.answer(1); status != "200" || !whole {
			t.Errorf("answered %s, whole %v", status, whole)
		}
		until(t, "the memory to be given back", func() bool { n, _ := b.Taken(memory.Buffers); return n == 0 })
		p.post(3, "/stuck", "te", "trailers")
		p.sendTrailers(3, fields)
		until(t, "the memory of trailers", func() bool { n, _ := b.Taken(memory.Buffers); return n >= fields*900 })
		end()
		p.answer(3)
		p.c.Close()
		until(t, "all memory to be given back", func() bool { return takenOf(b) == 0 })
	})
	t.Run("there is none", func(t *testing.T) {
		const pot = 2 << 20
		b := memory.NewBudget(pot)
		k := newStackWithin(t, b, engine.Options{}, serve)
		p := k.dial()
		until(t, "the connection, with its memory", func() bool { return k.engine.Status().Conns == 1 })
		empty := fillUp(t, b, pot/16*12)
		defer empty()
		p.post(1, "/", "te", "trailers")
		p.sendTrailers(1, fields)
		if status, _, _, _ := p.answer(1); status != "503" {
			t.Errorf("answered %s", status)
		}
		p.get(3, "/")
		if status, _, _, _ := p.answer(3); status != "200" {
			t.Errorf("the next request is answered %s", status)
		}
	})
}
