package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
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
	conns, err := arrive(ctx, c.Idle, func(i int) (net.Conn, error) { return once(address, i, secure) })
	if err != nil {
		conns.Close()
		return 0, 0, err
	}
	defer conns.Close()
	// Buffers that are given back need a collection of garbage to be free.
	time.Sleep(5 * time.Second)
	return float64(p.usage().rss-before) / float64(c.Idle), float64(before), nil
}

// once opens a connection and brings one request.
func once(address string, i int, secure bool) (net.Conn, error) {
	d := dialer(i)
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
