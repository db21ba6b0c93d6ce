package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// memory measures what connections in several states cost.
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
		if m.drip != nil {
			crowd.each(m.drip)
		}
		time.Sleep(15 * time.Second)
		each := (a.rss() - before) / int64(m.conns)
		a.see("%d %s: %.1f KiB each, resident %.1f MiB", m.conns, m.name, float64(each)/1024, mib(a.rss()))
		if open := int(a.metric("serai_connections")); open < m.conns {
			a.broken("only %d of %d connections are still there", open, m.conns)
		}
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

// crowdTimeout bounds how long a crowd may be used.
const crowdTimeout = 3 * time.Minute

// each calls do for every connection each second until it fails, as it does when the
// crowd is closed. The kernel may block one call for long, and that must not delay the
// others.
func (cs crowd) each(do func(net.Conn) error) {
	for _, c := range cs {
		go func() {
			for do(c) == nil {
				time.Sleep(time.Second)
			}
		}()
	}
}

// gather opens connections and sends the same bytes on each.
func gather(ctx context.Context, address string, n int, bytes string) (crowd, error) {
	return arrive(ctx, n, func(i int) (net.Conn, error) {
		d := dialer(i)
		d.Control = smallWindow
		c, err := d.Dial("tcp", address)
		if err == nil {
			c.SetDeadline(time.Now().Add(crowdTimeout))
			_, err = io.WriteString(c, bytes)
		}
		return c, err
	})
}

// arrive opens n connections at a steady rate, because a process could reuse memory for
// later connections that it needs for many at once. It returns the connections, and the
// first failure.
func arrive(ctx context.Context, n int, come func(i int) (net.Conn, error)) (crowd, error) {
	const dialers, arrivals = 50, 2000 // a second
	all := make(crowd, n)
	var running sync.WaitGroup
	failed := make(chan error, dialers)
	for d := range dialers {
		running.Go(func() {
			for i := d; i < n && ctx.Err() == nil; i += dialers {
				begun := time.Now()
				c, err := come(i)
				if all[i] = c; err != nil {
					failed <- err
					return
				}
				time.Sleep(dialers*time.Second/arrivals - time.Since(begun))
			}
		})
	}
	running.Wait()
	close(failed)
	return slices.DeleteFunc(all, func(c net.Conn) bool { return c == nil }), <-failed
}

// dialer is the dialer of the i-th client. One loopback address has not enough ports
// for all clients, so they use several.
func dialer(i int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i%10))}, Timeout: 10 * time.Second}
}

// smallWindow keeps a client that does not read from receiving megabytes into its
// buffers.
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
	loris, err := startHelper(ctx, "loris", a.address(), fmt.Sprintf("--conns=%d", a.options.Conns))
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
