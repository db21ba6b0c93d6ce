package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// The configurations of the proxies, all with the same headers added,
// connections to the origin kept, and no access log.
//
//go:embed peers
var peerFiles embed.FS

// peerKind is a proxy that can be compared.
type peerKind struct {
	name    string
	version []string               // arguments that make it print its version
	files   []string               // of peers, written to its directory
	args    func(setting) []string // of its command line
	hosts   bool                   // can be given many routes
	rules   bool                   // can be given policies
	secure  bool                   // speaks TLS here
	h2      bool                   // and HTTP/2 over it
	grpc    bool                   // and without it, as towards the origin
	near    bool                   // so near to each other that the difference wants care
	sniffs  bool                   // knows HTTP/2 without TLS by its first bytes, on the plain port
}

// The names of the serai that is measured, and of an earlier build beside it.
const (
	seraiName  = "serai"
	beforeName = "before"
)

// setting is what a configuration is made from.
type setting struct {
	Dir                   string
	Plain, Secure, Origin string // host:port
	H2C, GRPC             string // HTTP/2 without TLS, of the proxy and of the origin
	Cert, Key, Pem        string // files; Pem has both
	Hosts                 []string
	Conns                 int // that the limit of descriptors allows
	// Policies says that there are hosts with policies, and no others.
	Policies *policySetting
	// Collector is host:port of what takes serai's traces, of a share of Traces; empty for none.
	Collector string
	Traces    float64
}

func (s setting) file(name string) string { return filepath.Join(s.Dir, name) }

func peerKinds() []peerKind {
	serai := peerKind{name: seraiName, near: true, hosts: true, rules: true, secure: true, h2: true, grpc: true, sniffs: true, version: []string{"version"}, files: []string{"services.json"}, args: func(s setting) []string {
		var more []string
		if s.Policies != nil {
			more = append(more, "--config="+s.Policies.file("serai.hcl"))
		}
		return append(append([]string{"serve"}, more...), "--no-nomad", "--services="+s.file("services.json"), "--http="+s.Plain, "--https="+s.Secure,
			"--cert-dir="+filepath.Dir(s.Cert), "--admin=", "--drain-delay=0s", "--log-level=ERROR")
	}}
	before := serai
	before.name = beforeName
	untraced := serai.args
	serai.args = func(s setting) []string {
		args := untraced(s)
		if s.Collector != "" {
			args = append(args, "--otlp=http://"+s.Collector, fmt.Sprintf("--trace-share=%v", s.Traces))
		}
		return args
	}
	return []peerKind{
		serai,
		before,
		{name: "nginx", near: true, hosts: true, rules: true, secure: true, h2: true, grpc: true, version: []string{"-v"}, files: []string{"nginx.conf"}, args: func(s setting) []string {
			return []string{"-p", s.Dir, "-c", s.file("nginx.conf")}
		}},
		{name: "haproxy", near: true, hosts: true, rules: true, secure: true, h2: true, grpc: true, version: []string{"-v"}, files: []string{"haproxy.cfg", "hosts.map"}, args: func(s setting) []string {
			return []string{"-q", "-db", "-f", s.file("haproxy.cfg")}
		}},
		{name: "caddy", secure: true, h2: true, version: []string{"version"}, files: []string{"Caddyfile"}, args: func(s setting) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", s.file("Caddyfile")}
		}},
		{name: "traefik", secure: true, h2: true, version: []string{"version"}, files: []string{"traefik.yml"}, args: func(s setting) []string {
			return []string{"--entrypoints.plain.address=" + s.Plain, "--entrypoints.secure.address=" + s.Secure, "--log.level=FATAL",
				"--providers.file.filename=" + s.file("traefik.yml"), "--global.checknewversion=false", "--global.sendanonymoususage=false"}
		}},
		{name: "fabio", version: []string{"-version"}, files: []string{"fabio.routes"}, args: func(s setting) []string {
			return []string{"-proxy.addr=" + s.Plain, "-ui.addr=127.0.0.1:0", "-registry.backend=file", "-registry.file.path=" + s.file("fabio.routes"), "-registry.file.noroutehtmlpath=/dev/null",
				"-proxy.noroutestatus=404", "-log.level=ERROR"}
		}},
	}
}

// peer is a proxy that runs.
type peer struct {
	kind    *peerKind
	binary  string
	setting setting
	cmd     *exec.Cmd
	output  bytes.Buffer
	unable  map[string]bool // names of benches in which it does not take part
}

// startPeer runs a proxy on one core, and waits until it forwards.
func startPeer(ctx context.Context, kind *peerKind, binary string, s setting) (*peer, error) {
	dir, err := os.MkdirTemp("", "loadtest-"+kind.name)
	if err != nil {
		return nil, err
	}
	p := &peer{kind: kind, binary: binary, setting: s}
	p.setting.Dir = dir
	if err := p.start(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w\n%s", kind.name, err, p.output.String())
	}
	return p, nil
}

func (p *peer) start(ctx context.Context) (err error) {
	for _, a := range []*string{&p.setting.Plain, &p.setting.Secure, &p.setting.H2C} {
		if *a, err = freeAddress(); err != nil {
			return err
		}
	}
	if p.kind.sniffs {
		p.setting.H2C = p.setting.Plain
	}
	for _, name := range p.kind.files {
		if err := writePeerFile(p.setting, name); err != nil {
			return err
		}
	}
	p.cmd = pinned(ctx, proxyCore, p.binary, p.kind.args(p.setting)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		return err
	}
	client := newClient(p.setting.Plain)
	host := "web.loadtest"
	if len(p.setting.Hosts) > 0 {
		host = p.setting.Hosts[0]
	}
	if p.setting.Policies != nil {
		host = plainHost
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		switch a := client.get(host, "/"); {
		case a.status == 200:
			client.http.CloseIdleConnections()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("does not forward: status %d", a.status)
		}
	}
}

// settle waits until the proxy is idle, a minute at most: work that a start with many
// routes leaves for later must not count for requests.
func (p *peer) settle(ctx context.Context) error {
	const look, little = 2 * time.Second, 20 * time.Millisecond
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		before := p.usage().cpu
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.usage().cpu-before <= little {
			return nil
		}
	}
	return nil
}

func writePeerFile(s setting, name string) error {
	text, err := peerFiles.ReadFile("peers/" + name)
	if err != nil {
		return err
	}
	t, err := template.New(name).Funcs(template.FuncMap{"host": hostOf, "port": portOf}).Parse(string(text))
	if err != nil {
		return err
	}
	f, err := os.Create(s.file(name))
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(f, s), f.Close())
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// stop ends the process and removes its files.
func (p *peer) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		p.cmd.Process.Signal(syscall.SIGTERM)
		slow := time.AfterFunc(10*time.Second, func() { p.cmd.Process.Kill() })
		p.cmd.Wait()
		slow.Stop()
	}
	os.RemoveAll(p.setting.Dir)
}

// The proxy has a core of its own; the origin and the load share the others.
const (
	proxyCore = "0"
	otherCore = "1"
)

// pinned returns a command on one core. taskset is of util-linux.
func pinned(ctx context.Context, core, binary string, args ...string) *exec.Cmd {
	if taskset, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{"-c", core, binary}, args...)
		binary = taskset
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// usage is what a process and its children have used.
type usage struct {
	cpu time.Duration
	rss int64 // bytes, now
}

func (p *peer) usage() usage { return usageOf(p.cmd.Process.Pid) }

// usageOf reads /proc.
func usageOf(pid int) (u usage) {
	for _, pid := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The second field is a name in brackets; utime and stime are the 14th
		// and 15th, in hundredths of a second, rss the 24th, in pages (proc(5)).
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		number := func(i int) int64 { n, _ := strconv.ParseInt(f[i-3], 10, 64); return n }
		u.cpu += time.Duration(number(14)+number(15)) * 10 * time.Millisecond
		u.rss += number(24) * int64(os.Getpagesize())
	}
	return u
}

// family returns a process and its descendants.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, family(child)...)
			}
		}
	}
	return all
}
