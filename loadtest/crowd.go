package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// memory tells what connections in several states cost.
func memory(a *arena) error {
	const slow = 1000
	for _, m := range []struct {
		name  string
		conns int
		most  int64 // bytes each
		begin string
		drip  func(net.Conn) error // every second
	}{
		{"idle connections that have brought a request", a.options.Conns, 6 << 10, "GET / HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", nil},
		{"uploads of 1 MiB that send 100 bytes a second", slow, 0, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 1048576\r\n\r\n" + string(body(2000)), func(c net.Conn) error {
			_, err := c.Write(body(100))
			return err
		}},
		{"readers of 10 MB that take 100 bytes a second", slow, 0, "GET /bytes/10000000 HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", func(c net.Conn) error {
			_, err := io.ReadFull(c, make([]byte, 100))
			return err
		}},
	} {
		before := a.rss()
		crowd, err := gather(a.ctx, a.address(), m.conns, m.begin)
		if err != nil {
			return errors.Join(err, crowd.Close())
		}
		for range 15 {
			time.Sleep(time.Second)
			for _, c := range crowd {
				if m.drip == nil {
					continue
				}
				if err := m.drip(c); err != nil {
					crowd.Close()
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
		}
		each := (a.rss() - before) / int64(m.conns)
		a.see("%d %s: %.1f KiB each, resident %.1f MiB", m.conns, m.name, float64(each)/1024, mib(a.rss()))
		if m.most > 0 && each > m.most {
			a.broken("an idle connection has %d bytes, more than %d", each, m.most)
		}
		crowd.Close()
		time.Sleep(2 * time.Second)
	}
	return nil
}

// crowd is many connections.
type crowd []net.Conn

// Close ends all of them.
func (cs crowd) Close() error {
	for _, c := range cs {
		c.Close()
	}
	return nil
}

// crowdPatience bounds how long a crowd may be used.
const crowdPatience = 3 * time.Minute

// gather opens connections and sends the same bytes on each. An address of the
// loopback has not enough ports for all: they come from several.
func gather(ctx context.Context, address string, n int, bytes string) (crowd, error) {
	all := make(crowd, n)
	const dialers, arrivals = 20, 2000 // a second
	var running sync.WaitGroup
	failed := make(chan error, dialers)
	for d := range dialers {
		running.Go(func() {
			for i := d; i < n && ctx.Err() == nil; i += dialers {
				begun := time.Now()
				from := net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i%10))}
				c, err := (&net.Dialer{LocalAddr: &from, Timeout: 10 * time.Second, Control: smallWindow}).Dial("tcp", address)
				if err == nil {
					all[i] = c
					c.SetDeadline(begun.Add(crowdPatience))
					_, err = io.WriteString(c, bytes)
				}
				if err != nil {
					failed <- err
					return
				}
				time.Sleep(dialers*time.Second/arrivals - time.Since(begun))
			}
		})
	}
	running.Wait()
	close(failed)
	open := all[:0]
	for _, c := range all {
		if c != nil {
			open = append(open, c)
		}
	}
	return open, <-failed
}

// smallWindow keeps a client that does not read from taking megabytes all the
// same.
func smallWindow(_, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 256<<10) })
	return errors.Join(err, e)
}

// slowHeads has many clients send a head byte by byte, again and again, while
// others ask as usual.
func slowHeads(a *arena) error {
	usual := ask{url: "http://" + a.address() + "/healthz", conns: 32, rate: 500, lasts: 20 * time.Second}
	before, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(a.ctx)
	defer end()
	loris, err := startLoris(ctx, a.address(), a.options.Conns)
	if err != nil {
		return err
	}
	defer loris()
	open := 0.0
	for since := time.Now(); open < float64(a.options.Conns)*0.9 && time.Since(since) < time.Minute; time.Sleep(100 * time.Millisecond) {
		open = a.metric("serai_connections")
	}
	during, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	a.see("500 requests a second: p99 %.0f us, p50 %.0f us; beside %.0f connections that send a head byte by byte: p99 %.0f us, p50 %.0f us; failed %d of %d; resident %.1f MiB",
		before.P99, before.P50, open, during.P99, during.P50, during.Failed, during.Requests, mib(a.rss()))
	if open < float64(a.options.Conns)*0.9 {
		a.broken("only %.0f slow connections were open", open)
	}
	if during.P99 > 2*before.P99 {
		a.broken("p99 is %.1f times as long", during.P99/before.P99)
	}
	if during.Failed > 0 {
		a.broken("%d requests failed: %s", during.Failed, during.Cause)
	}
	return nil
}

// fewDescriptors has more clients come than serai has descriptors for, beside
// some who were there before.
func fewDescriptors(a *arena) error {
	const settled, flood = 10, 600
	ctx, end := context.WithCancel(a.ctx)
	defer end()
	var running sync.WaitGroup
	var mu sync.Mutex
	asked, failed := 0, 0
	var open sync.WaitGroup
	for range settled {
		open.Add(1)
		running.Go(func() {
			c := newClient(a.address())
			defer c.http.CloseIdleConnections()
			first := true
			for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
				r := c.get("web.loadtest", "/")
				if first {
					open.Done()
					first = false
				}
				mu.Lock()
				asked++
				if r.status != 200 {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	open.Wait()
	crowd, err := gather(ctx, a.address(), flood, "GET / HTTP/1.1\r\nHost: web.loadtest\r\n\r\n")
	if err != nil && ctx.Err() != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	most := a.descriptors()
	mu.Lock()
	a.see("%d clients came; %d descriptors open, %.0f accepts failed, %.0f connections refused; who was there before: %d requests, %d failed",
		flood, most, a.metric("serai_accept_errors_total"), a.metric("serai_connections_refused_total"), asked, failed)
	if failed > 0 {
		a.broken("%d requests on connections that were there failed", failed)
	}
	mu.Unlock()
	crowd.Close()
	gone := time.Now()
	for !a.alive() {
		if time.Since(gone) > 20*time.Second {
			a.broken("no new connection is answered 20 s after the crowd has gone")
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.see("a new client is answered %.0f ms after the crowd has gone", time.Since(gone).Seconds()*1000)
	if time.Since(gone) > time.Second {
		a.broken("recovery took more than a second")
	}
	end()
	running.Wait()
	return nil
}
