package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// ingress is a running serai.
type ingress struct {
	address string // host:port that takes requests
	stop    func()
}

// startSerai builds serai unless binary is given, and runs it with nomad as
// its Nomad.
func startSerai(ctx context.Context, binary, nomad string) (*ingress, error) {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	if binary == "" {
		binary = filepath.Join(dir, "serai")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "serai/cmd/serai")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			os.RemoveAll(dir)
			return nil, fmt.Errorf("build serai (or name one with --binary): %w", err)
		}
	}
	traffic, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--http="+traffic, "--admin=", "--drain-delay=0s", "--log-level=ERROR")
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+nomad)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start serai: %w", err)
	}
	i := &ingress{address: traffic, stop: func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
	}}
	if err := i.awaitReady(ctx); err != nil {
		i.stop()
		return nil, err
	}
	return i, nil
}

func (i *ingress) awaitReady(ctx context.Context) error {
	client := newClient(i.address)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a := client.get(i.address, "/.serai/ready"); a.status == 200 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.New("serai is not ready within a minute")
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// client is one connection's worth of requests.
type client struct{ http *fasthttp.HostClient }

func newClient(address string) *client {
	return &client{&fasthttp.HostClient{Addr: address, MaxConns: 1, MaxIdemponentCallAttempts: 1, ReadTimeout: 30 * time.Second}}
}

// reply is what one request brought.
type reply struct {
	sent   time.Time
	came   time.Time // whole
	status int       // 0 when there was no answer
	alloc  string
}

// get asks for a path of a host. The instance's allocation is read from the
// answer of `serai hello`.
func (c *client) get(host, path string) reply {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI("http://" + host + path)
	q.SetHost(host)
	r := reply{sent: time.Now()}
	if err := c.http.Do(q, a); err == nil {
		r.status = a.StatusCode()
		r.alloc = allocOf(a.Body())
	}
	r.came = time.Now()
	return r
}

// allocOf reads "NAME, allocation ID on NODE".
func allocOf(body []byte) (alloc string) {
	var name string
	if n, _ := fmt.Sscanf(string(body), "%s allocation %s", &name, &alloc); n < 2 {
		return ""
	}
	return alloc
}
