package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"serai/internal/freeport"
	"serai/internal/netns"
)

// ingress is a serai that can be stopped and started again.
type ingress struct {
	address string       // host:port that takes requests
	secure  string       // the same for TLS, empty without
	space   *netns.Space // nil for this machine's own network
	binary  string
	dir     string // of its own, removed at the end
	args    []string
	env     []string
	cmd     *exec.Cmd
}

// startSerai builds serai unless binary is given, and runs it with nomad as
// its Nomad. Settings are further flags, and NAME=VALUE for the environment; --https=
// stands for a listener at a free address, with a certificate.
func startSerai(ctx context.Context, binary, nomad string, settings ...string) (*ingress, error) {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	i := &ingress{binary: binary, dir: dir}
	if i.binary == "" {
		if i.binary, err = buildSerai(ctx, dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if i.address, err = freeAddress(); err != nil {
		return nil, err
	}
	for _, s := range settings {
		if at, ok := strings.CutPrefix(s, "--http="); ok {
			i.address = at
		}
	}
	i.args = []string{"serve", "--http=" + i.address, "--admin=", "--drain-delay=0s", "--log-level=ERROR"}
	i.env = append(os.Environ(), "NOMAD_ADDR="+nomad)
	for _, s := range settings {
		switch {
		case strings.HasPrefix(s, "--http="):
		case s == "--https=":
			if err := i.listenSecure(); err != nil {
				os.RemoveAll(dir)
				return nil, err
			}
		case strings.HasPrefix(s, "--"):
			i.args = append(i.args, s)
		default:
			i.env = append(i.env, s)
		}
	}
	if err := i.start(ctx); err != nil {
		i.stop()
		return nil, err
	}
	return i, nil
}

// listenSecure adds a listener with TLS to what will be run.
func (i *ingress) listenSecure() (err error) {
	if i.secure, err = freeAddress(); err != nil {
		return err
	}
	i.args = append(i.args, "--https="+i.secure, "--cert-dir="+i.dir)
	file := filepath.Join(i.dir, "web.loadtest")
	return writeCertificate(setting{Cert: file + ".crt", Key: file + ".key"})
}

// needSerai builds serai unless binary names one already, until remove is called.
func needSerai(ctx context.Context, binary *string) (remove func(), err error) {
	if *binary != "" {
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	if *binary, err = buildSerai(ctx, dir); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return func() { os.RemoveAll(dir) }, nil
}

// buildSerai builds serai in a directory and returns the file.
func buildSerai(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "serai")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "serai/cmd/serai")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build serai (or name one with --binary): %w", err)
	}
	return binary, nil
}

// start runs the process and waits until it is ready.
func (i *ingress) start(ctx context.Context) error {
	if err := i.run(ctx); err != nil {
		return err
	}
	return i.await(ctx, i.address, "/.serai/ready")
}

// run starts the process.
func (i *ingress) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, i.binary, i.args...)
	cmd.Env, cmd.Stderr = i.env, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start serai: %w", err)
	}
	i.cmd = cmd
	return nil
}

// end stops the process in order and waits for its end.
func (i *ingress) end() error {
	if i.cmd == nil {
		return nil
	}
	err := endProcess(i.cmd)
	i.cmd = nil
	return err
}

// endProcess stops a process in order and waits for its end.
func endProcess(cmd *exec.Cmd) error {
	cmd.Process.Signal(syscall.SIGTERM)
	return cmd.Wait()
}

// restart stops and starts it, on the same address.
func (i *ingress) restart(ctx context.Context) error {
	if err := i.end(); err != nil {
		return fmt.Errorf("serai ended with %w", err)
	}
	return i.start(ctx)
}

// stop ends it for good.
func (i *ingress) stop() {
	i.end()
	os.RemoveAll(i.dir)
}

// await waits until a path of a host answers 200.
func (i *ingress) await(ctx context.Context, host, path string) error {
	client := newClient(i.address)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a := client.get(host, path); a.status == 200 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s is not ready within a minute", i.binary)
}

func freeAddress() (string, error) {
	port, err := freeport.Take()
	return freeport.Address(port), err
}

// client is one connection's worth of requests.
type client struct{ http *fasthttp.HostClient }

func newClient(address string) *client {
	return &client{&fasthttp.HostClient{Addr: address, MaxConns: 1, MaxIdemponentCallAttempts: 1, ReadTimeout: 30 * time.Second}}
}

// reply is the answer to one request.
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
