package proxy

import (
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/router"
)

// side is one of a tunnel, which panics where it is told to, and is otherwise silent.
type side struct {
	panics      string // the name of the method
	bytes       bool   // it says something first
	ends        bool   // it ends then
	using       atomic.Int32
	interrupted chan struct{}
	once        sync.Once
	aborted     atomic.Bool
}

func (d *side) at(method string) func() {
	d.using.Add(1)
	if d.panics == method {
		d.using.Add(-1)
		panic("planted in " + method)
	}
	return func() { d.using.Add(-1) }
}

func (d *side) Read(p []byte) (int, error) {
	defer d.at("Read")()
	switch {
	case d.bytes:
		d.bytes = false
		return 1, nil
	case d.ends:
		return 0, io.EOF
	}
	<-d.interrupted
	return 0, os.ErrDeadlineExceeded
}
func (d *side) Write(p []byte) (int, error)          { defer d.at("Write")(); return len(p), nil }
func (d *side) ReadWithin(time.Time, time.Duration)  {}
func (d *side) WriteWithin(time.Time, time.Duration) {}
func (d *side) CloseWrite() error                    { defer d.at("CloseWrite")(); return nil }
func (d *side) Interrupt()                           { d.once.Do(func() { close(d.interrupted) }) }
func (d *side) Abort()                               { d.aborted.Store(true) }

// TestPanicOfATunnel: where one direction of a tunnel panics, the other one has ended, too,
// when the exchange is over: what it used may then be another's.
func TestPanicOfATunnel(t *testing.T) {
	for _, method := range []string{"Read", "Write", "CloseWrite"} {
		for _, ofClient := range []bool{true, false} {
			p, err := New(Options{Router: router.NewRouter()})
			if err != nil {
				t.Fatal(err)
			}
			client, instance := &side{interrupted: make(chan struct{})}, &side{interrupted: make(chan struct{})}
			bad, other := client, instance
			if !ofClient {
				bad, other = instance, client
			}
			bad.panics = method
			other.bytes, other.ends = method == "Write", method == "CloseWrite"
			x := &Exchange{Peer: netip.MustParseAddrPort("192.0.2.1:1")}
			func() {
				defer func() { recover() }()
				if err := p.join(x, &tunnel{client: client, instance: instance, idle: time.Minute}); err == nil {
					t.Errorf("%s, of the client %v: no error", method, ofClient)
				}
			}()
			if a, b := client.using.Load(), instance.using.Load(); a != 0 || b != 0 {
				t.Errorf("%s, of the client %v: it is over, and the client's side is used %d times, the instance's %d", method, ofClient, a, b)
			}
			if !client.aborted.Load() || !instance.aborted.Load() || p.Reasons()[ReasonPanic.Code()] != 1 {
				t.Errorf("%s, of the client %v: not cut as a panic is", method, ofClient)
			}
			client.Interrupt()
			instance.Interrupt()
		}
	}
}
