package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
	"serai/upstream/http1"
	"serai/wire"
)

// fragile is an engine's side of an exchange that panics where it is told to.
type fragile struct {
	panics  string // the name of the method
	aborted bool
	rest    chan struct{} // closed by Interrupt
	once    sync.Once
}

func (f *fragile) at(method string) {
	if f.panics == method {
		panic("planted in " + method)
	}
}

func (f *fragile) Next() ([]byte, error) { // the rest of a body, which never comes
	f.at("Next")
	<-f.rest
	return nil, io.ErrUnexpectedEOF
}
func (f *fragile) Ready() bool                      { f.at("Ready"); return false }
func (f *fragile) Gather() (bool, error)            { return false, nil }
func (f *fragile) Holds() int64                     { return 1 }
func (f *fragile) Done() bool                       { return f.rest == nil }
func (f *fragile) Trailers() []wire.Field           { return nil }
func (f *fragile) Interrupt()                       { f.once.Do(func() { close(f.rest) }) }
func (f *fragile) Interim(*wire.ResponseHead) error { f.at("Interim"); return nil }
func (f *fragile) Head(*wire.ResponseHead) error    { f.at("Head"); return nil }
func (f *fragile) Write([]byte) error               { f.at("Write"); return nil }
func (f *fragile) Flush() error                     { return nil }
func (f *fragile) Finish([]wire.Field) error        { f.at("Finish"); return nil }
func (f *fragile) Abort()                           { f.aborted = true }

// TestPanicCutsOneRequest: wherever a request panics, it alone is cut, and all
// that it held is given back.
func TestPanicCutsOneRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	registry := upstream.NewRegistry(upstream.RegistryOptions{Transport: http1.New})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { registry.Run(ctx) })
	table := router.NewRouter()
	builder, err := router.NewBuilder(table, router.Options{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer builder.Close()
	address := netip.MustParseAddrPort(l.Addr().String())
	key := discovery.Key{Namespace: "default", Name: "web"}
	builder.Update(&discovery.Snapshot{Index: 1, Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: "a", Service: "web", Namespace: "default", Address: "127.0.0.1", Port: int(address.Port()),
		Tags: []string{"ingress.host=a.test", "ingress.max-inflight=1"},
	}}}}})

	var log bytes.Buffer
	logged := ""
	p, err := New(Options{Router: table, Logger: slog.New(slog.NewTextHandler(&log, nil)), Log: func(x *Exchange) {
		if logged = x.Reason; string(x.Head.Path) == "/log" {
			panic("planted in the log")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(f *fragile, path string) *Exchange {
		x := &Exchange{Body: f, Responder: f, Peer: netip.MustParseAddrPort("192.0.2.1:1"), Start: time.Now()}
		x.Now = x.Start
		text := "GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n"
		if f.rest != nil {
			text = "POST " + path + " HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n"
		}
		if _, err := x.Head.ParseRequest([]byte(text), wire.DefaultLimits()); err != nil {
			t.Fatal(err)
		}
		p.Serve(x)
		return x
	}
	places := []string{"Ready", "Next", "Interim", "Head", "Write", "Finish", "log"}
	for _, place := range places {
		f := &fragile{panics: place}
		if place == "Next" || place == "Head" || place == "Ready" {
			f.rest = make(chan struct{})
		}
		path := "/"
		if place == "log" {
			path = "/log"
		}
		x := serve(f, path)
		// An upload's goroutine may panic when the answer is already there.
		if !f.aborted && place != "Next" || x.Reason != ReasonPanic.Code() || logged != ReasonPanic.Code() && place != "log" {
			t.Errorf("%s: aborted %v, reason %q, logged %q", place, f.aborted, x.Reason, logged)
		}
		if !strings.Contains(log.String(), "planted in") || !strings.Contains(log.String(), "panic.go") {
			t.Errorf("%s: no stack in the log: %s", place, log.String())
		}
		log.Reset()
		// One place and one budget: were one not given back, this would wait.
		if x := serve(&fragile{}, "/"); x.Status != 200 {
			t.Errorf("after %s: status %d, reason %q", place, x.Status, x.Reason)
		}
		route := table.Current().Routes()[0]
		if e, r := registry.All()[0].Inflight(), route.Stats.Inflight(); e != 0 || r != 0 || p.Inflight() != 0 {
			t.Errorf("after %s: %d in flight at the instance, %d of the route, %d in all", place, e, r, p.Inflight())
		}
	}
	if n := p.Reasons()[ReasonPanic.Code()]; int(n) != len(places)-1 { // of the log's own, the log was told nothing
		t.Errorf("%d panics are counted, of %d", n, len(places))
	}
}
