package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"serai/nomad"
)

// floodLimit is the memory that serai has in the trial of all floods: what the
// job files in jobs/ ask for, in MiB.
const floodLimit = 128

// floods has strangers and tenants do at once all that takes memory, while others
// ask as usual.
func floods(a *arena) error {
	usual := ask{url: "http://" + a.address() + "/bytes/1000", conns: 16, rate: 300, lasts: 20 * time.Second}
	before, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	a.registerFloods()
	most, watched := a.watchMemory()
	stop, err := startHelper(a.ctx, "flood", a.address())
	if err != nil {
		return err
	}
	defer stop()
	usual.lasts = a.options.Floods
	posts := ask{url: "http://" + a.address() + "/echo", conns: 16, rate: 100, body: 20_000, lasts: usual.lasts}
	var during, posted seen
	var asking errgroup.Group
	asking.Go(func() (err error) { during, err = generate(a.ctx, usual); return err })
	asking.Go(func() (err error) { posted, err = generate(a.ctx, posts); return err })
	if err := asking.Wait(); err != nil {
		return err
	}
	watched()
	a.see("300 requests a second: p99 %.0f us, p50 %.0f us; for %v beside all floods: p99 %.0f us, p50 %.0f us; failed %d of %d (%s), and of uploads of 20 kB %d of %d (%s); resident at most %.1f MiB",
		before.P99, before.P50, usual.lasts, during.P99, during.P50, during.Failed, during.Requests, during.Cause, posted.Failed, posted.Requests, posted.Cause, mib(*most))
	if failed := during.Failed + posted.Failed; failed > 0 {
		a.broken("%d requests of others failed: %s %s", failed, during.Cause, posted.Cause)
	}
	if during.P99 > 2*before.P99 {
		a.broken("p99 of others is %.1f times as long", during.P99/before.P99)
	}
	return nil
}

// registerFloods registers what a tenant may: many large tags, many checks with
// large answers, and a service that never becomes ready.
func (a *arena) registerFloods() {
	register := func(service string, n int, address string, port int, tags ...string) {
		alloc := fmt.Sprintf("f100d%03x-0000-4000-8000-%012x", n, len(service))
		a.sim.Register(nomad.Registration{ID: "_nomad-task-" + alloc + "-" + service, ServiceName: service, Namespace: nomad.DefaultNamespace,
			JobID: service, AllocID: alloc, Tags: tags, Address: address, Port: port})
	}
	for i := range 3 {
		var tags []string
		for r := range 64 {
			var hosts []string
			for h := range 100 {
				hosts = append(hosts, fmt.Sprintf("h%d-%d-%d.large-tags.example.org", i, r, h))
			}
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, strings.Join(hosts, ",")))
		}
		register(fmt.Sprintf("large-%d", i), 0, "127.0.0.1", 9, tags...)
	}
	web := a.instances[0].reg
	for i := range 256 {
		register("checked", i, web.Address, web.Port, "ingress.host=checked.loadtest", "ingress.check=/bytes/1048576?"+fmt.Sprint(i), "ingress.check-interval=1s")
	}
	register("never", 0, "127.0.0.1", 9, "ingress.host=never.loadtest")
}

// floodCommand sends, until it is killed, what takes memory of serai: heads
// and bodies that never end, requests that wait, and readers that hardly read.
type floodCommand struct {
	Addr string `arg:""`
}

// Run goes on until it is killed.
func (f *floodCommand) Run(ctx context.Context) error {
	raiseLimit()
	kilobytes := strings.Repeat("X-Filler: "+strings.Repeat("a", 988)+"\r\n", 60)
	post := "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 65536\r\n\r\n" + kilobytes
	drip := func(c net.Conn) error {
		_, err := io.WriteString(c, "a")
		return err
	}
	read := func(c net.Conn) error {
		_, err := io.ReadFull(c, make([]byte, 1000))
		return err
	}
	var running sync.WaitGroup
	var opened atomic.Int64
	for i, flood := range []struct {
		conns int
		begin string
		goOn  func(net.Conn) error
	}{
		{2500, "GET / HTTP/1.1\r\nHost: web.loadtest\r\n" + kilobytes + "X-Slow: ", drip},
		{2500, post, drip},
		{1000, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", func(c net.Conn) error {
			_, err := io.WriteString(c, "1\r\na\r\n")
			return err
		}},
		{500, "GET /bytes/10000000 HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", read},
		{1000, "POST / HTTP/1.1\r\nHost: never.loadtest\r\nContent-Length: 74\r\n\r\n" + strings.Repeat("a", 74), read},
	} {
		for n := range flood.conns {
			time.Sleep(time.Second / 2000)
			running.Go(func() {
				for ctx.Err() == nil {
					keepOpen(ctx, dialer(i*1000+n), f.Addr, flood.begin, flood.goOn, &opened)
				}
			})
		}
	}
	fmt.Println(opened.Load())
	running.Wait()
	return nil
}

// keepOpen opens a connection, sends what it begins with, and goes on every
// three seconds until that fails.
func keepOpen(ctx context.Context, d *net.Dialer, address, begin string, goOn func(net.Conn) error, opened *atomic.Int64) {
	const pause = 3 * time.Second
	d.Control = smallWindow
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		defer c.Close()
		opened.Add(1)
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.WriteString(c, begin)
	}
	for err == nil && ctx.Err() == nil {
		time.Sleep(pause)
		err = goOn(c)
	}
	time.Sleep(pause) // refused: not at once again
}

// startHelper runs a command of this program on the other core until stop is
// called, and returns when it has printed a line.
func startHelper(ctx context.Context, command ...string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := pinned(ctx, otherCore, self, command...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	line := ""
	if _, err := fmt.Fscan(out, &line); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("run %s", command[0]), err)
	}
	return stop, nil
}

// withMemory returns what runs a program in a control group of its own with so
// many MiB of memory, and what removes that group. Where this process may not
// make one there is none, and the program is only told of the limit.
func withMemory(binary string, megabytes int) (limited string, remove func(), err error) {
	group, limitFile := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("loadtest-%d", os.Getpid())), "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limitFile = filepath.Join("/sys/fs/cgroup", fmt.Sprintf("loadtest-%d", os.Getpid())), "memory.max"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		fmt.Println("  no control group can be made: the memory is only told", err)
		return binary, func() {}, nil
	}
	drop := func() { os.Remove(group) }
	if err := os.WriteFile(filepath.Join(group, limitFile), fmt.Appendf(nil, "%d", megabytes<<20), 0o644); err != nil {
		drop()
		return "", nil, fmt.Errorf("limit the memory of a control group: %w", err)
	}
	script, err := os.CreateTemp("", "loadtest*.sh")
	if err != nil {
		drop()
		return "", nil, err
	}
	fmt.Fprintf(script, "#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", group, binary)
	return script.Name(), func() { drop(); os.Remove(script.Name()) }, errors.Join(script.Chmod(0o700), script.Close())
}
