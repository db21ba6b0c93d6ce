package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const idleName = "memory of an idle connection"

// idle measures what a connection costs that has brought one request and is
// silent now, in a process that has just started.
func (c *compareCommand) idle(ctx context.Context, kinds []found, s setting, secure bool, r *report) error {
	name, target := idleName, 6.0*1024
	if secure {
		name, target = name+" with TLS", 20*1024
	}
	row := r.row(name)
	row.Unit, row.Limit = "bytes", target
	for i := range kinds {
		if secure && !kinds[i].kind.secure {
			continue
		}
		bytes, start, err := c.idleOf(ctx, &kinds[i], s, secure)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, kinds[i].kind.name, err)
		}
		row.of(kinds[i].kind.name).Value = bytes
		if !secure {
			begun := r.row("memory after the start")
			begun.Unit, begun.Limit = "bytes", 30<<20
			begun.of(kinds[i].kind.name).Value = start
		}
		fmt.Fprintf(os.Stderr, "%-48s %-8s %8.0f bytes\n", name, kinds[i].kind.name, bytes)
	}
	return nil
}

func (c *compareCommand) idleOf(ctx context.Context, f *found, s setting, secure bool) (each, start float64, err error) {
	p, err := startPeer(ctx, &f.kind, f.binary, s)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	time.Sleep(time.Second)
	before := p.usage().rss
	address := p.setting.Plain
	if secure {
		address = p.setting.Secure
	}
	conns := make([]net.Conn, c.Idle)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	var running sync.WaitGroup
	// So many come each second: what a process needs for those that come at once
	// it can use again for others later.
	const dialers, arrivals = 50, 2000
	failed := make(chan error, dialers)
	for d := range dialers {
		running.Go(func() {
			for i := d; i < len(conns); i += dialers {
				begun := time.Now()
				c, err := once(address, i, secure)
				if conns[i] = c; err != nil {
					failed <- err
					return
				}
				time.Sleep(dialers*time.Second/arrivals - time.Since(begun))
			}
		})
	}
	running.Wait()
	select {
	case err := <-failed:
		return 0, 0, err
	default:
	}
	// Buffers that are given back need a collection of garbage to be free.
	time.Sleep(5 * time.Second)
	return float64(p.usage().rss-before) / float64(c.Idle), float64(before), nil
}

// once opens a connection and brings one request. An address of the loopback
// has not enough ports for all: they come from several.
func once(address string, i int, secure bool) (net.Conn, error) {
	from := net.ParseIP("127.0.1." + strconv.Itoa(1+i%10))
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	asked := c
	if secure {
		asked = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "web.loadtest"})
	}
	asked.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(asked, "GET /small HTTP/1.1\r\nHost: web.loadtest\r\n\r\n"); err != nil {
		return c, err
	}
	res, err := http.ReadResponse(bufio.NewReader(asked), nil)
	if err != nil {
		return c, err
	}
	if res.StatusCode != http.StatusOK {
		return c, fmt.Errorf("status %d", res.StatusCode)
	}
	return c, nil
}
