package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// flood is one way in which strangers use up memory of serai: connections that begin
// with the same bytes, and send a few more every three seconds.
type flood struct {
	name  string
	conns int
	begin string
	goOn  func(net.Conn) error
}

// strangersFloods are the floods of strangers, in the order in which they begin.
func strangersFloods() []flood {
	kilobytes := strings.Repeat("X-Filler: "+strings.Repeat("a", 988)+"\r\n", 60)
	drip := func(c net.Conn) error {
		_, err := io.WriteString(c, "a")
		return err
	}
	read := func(c net.Conn) error {
		_, err := io.ReadFull(c, make([]byte, 1000))
		return err
	}
	chunk := func(c net.Conn) error {
		_, err := io.WriteString(c, "1\r\na\r\n")
		return err
	}
	return []flood{
		{"heads", 2500, "GET / HTTP/1.1\r\nHost: web.loadtest\r\n" + kilobytes + "X-Slow: ", drip},
		{"bodies", 2500, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 65536\r\n\r\n" + kilobytes, drip},
		{"chunks", 1000, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", chunk},
		{"readers", 500, "GET /bytes/10000000 HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", read},
		{"waiting", 1000, "POST / HTTP/1.1\r\nHost: never.loadtest\r\nContent-Length: 74\r\n\r\n" + strings.Repeat("a", 74), read},
	}
}

// floodCommand sends floods until it is killed.
type floodCommand struct {
	Addr  string   `arg:""`
	Kinds []string `help:"Only these; all when empty."`
}

// Run goes on until it is killed.
func (f *floodCommand) Run(ctx context.Context) error {
	raiseLimit()
	var running sync.WaitGroup
	var opened atomic.Int64
	begun := make(chan struct{})
	running.Go(func() {
		defer close(begun)
		for i, flood := range strangersFloods() {
			if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, flood.name) {
				continue
			}
			for n := range flood.conns {
				time.Sleep(time.Second / 2000)
				running.Go(func() {
					for ctx.Err() == nil {
						flood.keepOpen(ctx, dialer(i*1000+n), f.Addr, &opened)
					}
				})
			}
		}
	})
	select {
	case <-begun:
	case <-time.After(30 * time.Second): // on a busy machine; most of them are under way then
	case <-ctx.Done():
	}
	fmt.Println(opened.Load())
	running.Wait()
	return nil
}

// keepOpen opens a connection, sends what it begins with, and goes on every
// three seconds until that fails.
func (f *flood) keepOpen(ctx context.Context, d *net.Dialer, address string, opened *atomic.Int64) {
	const pause = 3 * time.Second
	d.Control = smallWindow
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		defer c.Close()
		opened.Add(1)
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.WriteString(c, f.begin)
	}
	for err == nil && ctx.Err() == nil {
		time.Sleep(pause)
		err = f.goOn(c)
	}
	time.Sleep(pause) // refused: not at once again
}
