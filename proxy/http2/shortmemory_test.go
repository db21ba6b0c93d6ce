package http2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/memory"
	engine "serai/proxy/http2"
)

// TestUploadsWhereMemoryIsShort: where there is no memory for large buffers, bodies come
// through small windows. None is refused, whether its length is known or not, and whether
// the client has learned of the windows when it begins or not; when there is memory again
// windows are large again.
func TestUploadsWhereMemoryIsShort(t *testing.T) {
	const pot, uploads = 32 << 20, 4
	sizes := []int{100, 9_000, 60_000, 300_000}
	for name, late := range map[string]bool{"from the start": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			b := memory.NewBudget(pot)
			reads := make(chan struct{})
			k := newStackWithin(t, b, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					<-reads
				}
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprintf(w, "%d bytes, %v", n, err)
			})
			client := &http.Transport{Protocols: new(http.Protocols)}
			client.Protocols.SetUnencryptedHTTP2(true)
			client.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", k.address)
			}
			defer client.CloseIdleConnections()
			send := func(path string, body io.Reader) string {
				r, err := http.NewRequest("POST", "http://a.test"+path, body)
				if err != nil {
					return err.Error()
				}
				a, err := client.RoundTrip(r)
				if err != nil {
					return err.Error()
				}
				defer a.Body.Close()
				text, err := io.ReadAll(a.Body)
				return fmt.Sprintf("%d %s, %v", a.StatusCode, text, err)
			}
			if late {
				if got := send("/", strings.NewReader("x")); got != "200 1 bytes, <nil>, <nil>" {
					t.Fatalf("before, it is answered %s", got)
				}
			}
			empty := fillUp(t, b, pot/16*8)
			defer func() { empty() }()
			for round := range 3 {
				var all sync.WaitGroup
				for i := range uploads {
					for _, size := range sizes {
						all.Go(func() {
							want := fmt.Sprintf("200 %d bytes, <nil>, <nil>", size)
							got := ""
							// On a machine that is busy the client may be too slow for what memory there is.
							for tries := 0; tries == 0 || tries < 20 && strings.HasPrefix(got, "503"); tries++ {
								var body io.Reader = bytes.NewReader(make([]byte, size))
								if i%2 == 1 {
									body = io.MultiReader(body) // whose length nobody knows
								}
								got = send("/slow", body)
							}
							if got != want {
								t.Errorf("round %d, upload %d of %d bytes: answered %q, want %q", round, i, size, got, want)
							}
						})
					}
				}
				if round == 0 {
					// The bodies come before anybody reads them.
					for end := time.Now().Add(3 * time.Second); refusedOf(b) < uploads && time.Now().Before(end); time.Sleep(time.Millisecond) {
					}
					close(reads)
				}
				all.Wait()
			}
			empty()
			empty = func() {}
			client.CloseIdleConnections()
			k.server.Retire()
			until(t, "all memory back", func() bool { return takenOf(b) == 0 })
		})
	}
}

// TestWindowsFollowMemory: a client is told once that memory is short, keeps the window of a
// stream that began before it knew, and is told when there is memory again.
func TestWindowsFollowMemory(t *testing.T) {
	const pot = 4 << 20
	b := memory.NewBudget(pot)
	k := newStackWithin(t, b, engine.Options{}, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	p := k.dial()
	told := make(chan uint32, 100)
	more, ended := make(chan *http2.WindowUpdateFrame, 1000), make(chan uint32, 1000)
	go func() {
		for {
			f, err := p.f.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if n, ok := f.Value(http2.SettingInitialWindowSize); ok {
					told <- n
				}
			case *http2.WindowUpdateFrame:
				if f.StreamID > 0 {
					more <- f
				}
			case *http2.RSTStreamFrame:
				if f.ErrCode == http2.ErrCodeFlowControl {
					t.Errorf("stream %d is reset: %v", f.StreamID, f.ErrCode)
					ended <- f.StreamID
				}
			case *http2.MetaHeadersFrame:
				ended <- f.StreamID
			}
		}
	}()
	if n := <-told; n != 65536 {
		t.Fatalf("at first windows are %d bytes", n)
	}
	id := uint32(1)
	empty := fillUp(t, b, pot/16*9)
	// ask opens streams until the client is told, and returns those that it has left open.
	ask := func(want uint32, open bool) (all []uint32) {
		t.Helper()
		pause := 20 * time.Millisecond
		if open {
			pause *= 10 // they take memory
		}
		for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(pause) {
			if all = append(all, id); open {
				p.post(id, "/", "content-length", "9000")
				p.f.WriteData(id, false, make([]byte, 100))
			} else {
				p.post(id, "/", "content-length", "0")
				p.f.WriteData(id, true, nil)
			}
			id += 2
			select {
			case n := <-told:
				if n != want {
					t.Fatalf("told that windows are %d bytes, want %d", n, want)
				}
				return all
			default:
			}
		}
		t.Fatal("never told")
		return nil
	}
	p.f.WriteSettingsAck() // of the first, without which nothing is changed
	ask(8192, false)
	p.post(id, "/", "content-length", "60000")
	p.f.WriteData(id, false, make([]byte, 16_000))
	before := id
	id += 2
	p.f.WriteSettingsAck()
	of := func(id uint32) *http2.WindowUpdateFrame {
		for {
			if f := <-more; f.StreamID == id {
				return f
			}
		}
	}
	if f := of(before); f.Increment != 65536-8192 {
		t.Errorf("stream %d gets %d bytes back, want %d and %d", f.StreamID, f.Increment, before, 65536-8192)
	}
	p.post(id, "/", "content-length", "60000")
	p.f.WriteData(id, false, make([]byte, 8192))
	if f := of(id); f.Increment < 4096 || f.Increment > 8192 {
		t.Errorf("stream %d gets %d bytes more", f.StreamID, f.Increment)
	}
	id += 2
	empty()
	b.Settle()
	// Those that were open by then may be sent as much, too.
	for _, id := range ask(65536, true) {
		p.f.WriteData(id, true, make([]byte, 8900))
		for <-ended != id {
		}
	}
}
