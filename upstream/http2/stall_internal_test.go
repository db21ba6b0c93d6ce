package http2

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	x "golang.org/x/net/http2"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// TestReaderDoesNotWaitToWrite: an instance that reads nothing before it has answered is
// heard, whatever it has asked for by then.
func TestReaderDoesNotWaitToWrite(t *testing.T) {
	for name, ask := range map[string]func(f *x.Framer, stream uint32){
		"SETTINGS": func(f *x.Framer, _ uint32) { f.WriteSettings() },
		"PING":     func(f *x.Framer, _ uint32) { f.WritePing(false, [8]byte{}) },
		"a fault of a stream": func(f *x.Framer, stream uint32) {
			f.WriteData(stream, false, []byte("a body before its head"))
		},
		"a large body": func(f *x.Framer, stream uint32) {
			f.WriteRawFrame(x.FrameHeaders, x.FlagHeadersEndHeaders, stream, []byte{0x88})
			f.WriteData(stream, false, make([]byte, worthIt+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				r := &upstream.Request{
					Head:     &wire.OutgoingRequest{Method: []byte("GET"), Target: []byte("/")},
					Complete: true, Bounds: &upstream.Bounds{Head: wire.DefaultLimits(), WriteIdle: time.Hour}, Scratch: []byte{http2.NoTable, 0x82},
				}
				e := upstream.NewRegistry(upstream.RegistryOptions{Transport: New(Options{})}).Acquire(upstream.Target{Scheme: upstream.H2C})
				c := e.Transport().(*Transport).newConn(near, "", r)
				c.taken = 2
				go c.begin()
				f := x.NewFramer(far, far)
				if _, err := io.ReadFull(far, make([]byte, len(x.ClientPreface))); err != nil {
					t.Fatal(err)
				}
				f.ReadFrame() // SETTINGS
				f.ReadFrame() // WINDOW_UPDATE
				f.WriteSettings()
				f.ReadFrame() // its ACK
				var both [2]*stream
				for i := range both {
					both[i] = c.newStream()
					go both[i].begin(r, false)
					f.ReadFrame() // HEADERS
				}
				synctest.Wait() // until nobody writes
				ask(f, both[0].id)
				f.WriteRawFrame(x.FrameHeaders, x.FlagHeadersEndHeaders|x.FlagHeadersEndStream, both[1].id, []byte{0x88})
				var a upstream.Answer
				if err := both[1].nextHead(&a); err != nil || a.Head.Status != 200 {
					t.Errorf("answered %d, %v", a.Head.Status, err)
				}
			})
		})
	}
}
