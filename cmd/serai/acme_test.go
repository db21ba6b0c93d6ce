package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
	"serai/tls/acme/acmetest"
)

// node is a serai in a process of its own: what certmagic knows of validations
// is one for a process.
type node struct {
	t                  *testing.T
	http, https, admin string
	cmd                *exec.Cmd
	output             *buffer
	stdout, stderr     io.Writer // output when nil
	ended              chan struct{}
}

// newNodes makes nodes with addresses of their own, which a balancer hands
// validations to in turn.
func newNodes(t *testing.T, ca *acmetest.CA, count int) (nodes []*node) {
	t.Helper()
	var plain, secure []string
	for range count {
		n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
		nodes = append(nodes, n)
		plain, secure = append(plain, n.http), append(secure, n.https)
	}
	balance(t, ca.HTTP, plain...)
	balance(t, ca.TLS, secure...)
	return nodes
}

// start runs serai serve until the test ends.
func (n *node) start(env []string, args ...string) {
	t := n.t
	t.Helper()
	n.run(env, args...)
	t.Cleanup(func() {
		n.kill(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the serai at %s said:\n%s", n.https, n.output.String())
		}
	})
	until(t, "serai to be ready", func() bool {
		status, _ := get(n.admin, "", "/ready")
		return status == 200
	})
}

func (n *node) run(env []string, args ...string) {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(self, append([]string{"serve", "--http=" + n.http, "--https=" + n.https, "--admin=" + n.admin,
		"--drain-delay=0s", "--drain-timeout=1s"}, args...)...)
	n.cmd.Env = append([]string{asMain + "=1", "HOME=" + os.Getenv("HOME"), "GODEBUG=" + os.Getenv("GODEBUG")}, env...)
	n.cmd.Stdout, n.cmd.Stderr = n.output, n.output
	if n.stdout != nil {
		n.cmd.Stdout = n.stdout
	}
	if n.stderr != nil {
		n.cmd.Stderr = n.stderr
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); close(ended) }(n.cmd, n.ended)
}

// kill ends the process and waits for its end.
func (n *node) kill(signal syscall.Signal) {
	n.cmd.Process.Signal(signal)
	select {
	case <-n.ended:
	case <-time.After(long):
		n.cmd.Process.Kill()
		<-n.ended
		n.t.Error("serai did not end by itself")
	}
}

// certificates is what its admin tells.
func (n *node) certificates() (c admin.Certificates) {
	_, body := get(n.admin, "", "/certificates")
	json.Unmarshal([]byte(body), &c)
	return c
}

// serial makes a handshake for a name, and returns the serial number of the
// certificate that answers it; empty when none does.
func (n *node) serial(name string) string {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", n.https, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// balance takes connections at an address and hands them to the targets in
// turn, skipping those that refuse.
func balance(t *testing.T, address string, targets ...string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var turn atomic.Int64
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				first := int(turn.Add(1))
				for i := range targets {
					to, err := net.Dial("tcp", targets[(first+i)%len(targets)])
					if err != nil {
						continue
					}
					defer to.Close()
					go func() { io.Copy(to, c); to.(*net.TCPConn).CloseWrite() }()
					io.Copy(c, to)
					return
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
}

// place is where certificates of a test live.
type place struct {
	name string
	// open returns the environment and flags of each serai, and how many may
	// share the place.
	open func(t *testing.T) (env, args []string, shared bool)
}

// places are the stores that this machine has.
func places() []place {
	all := []place{
		{"simulator", func(t *testing.T) (env, args []string, shared bool) {
			_, url, _ := nomadtest.Simulator(t)
			return []string{"NOMAD_ADDR=" + url}, []string{"--cert-store=nomad"}, true
		}},
		{"file", func(t *testing.T) (env, args []string, shared bool) {
			return nil, []string{"--cert-store=file", "--no-nomad", "--state-dir=" + t.TempDir()}, false
		}},
	}
	if nomadtest.Binary() != "" {
		all = append(all, place{"real agent", func(t *testing.T) (env, args []string, shared bool) {
			return []string{"NOMAD_ADDR=" + nomadtest.Server(t)}, []string{"--cert-store=nomad"}, true
		}})
	}
	return all
}

// servicesFile writes a file of static instances, one for each host.
func servicesFile(t *testing.T, hosts ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "services.json")
	web := instance(t, "web", "ingress.host="+strings.Join(hosts, ","))
	writeServices(t, file, web)
	return file
}

func writeServices(t *testing.T, file string, all ...nomad.Registration) {
	t.Helper()
	content, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// acmeFlags are those of every serai that orders at a CA.
func acmeFlags(ca *acmetest.CA, services string) []string {
	return []string{"--acme-email=ops@example.org", "--acme-directory=" + ca.Directory, "--acme-ca-root=" + ca.RootFile, "--services=" + services}
}

// TestOneOrderForAll has three serai behind a balancer, on each store and with
// each kind of validation: one order for each host, and all serve the same
// certificate.
func TestOneOrderForAll(t *testing.T) {
	for _, p := range places() {
		for _, kind := range []string{"http-01", "tls-alpn-01"} {
			t.Run(p.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				hosts := []string{"a.example.org", "b.example.org", "c.example.org"}
				ca := acmetest.New(t, acmetest.Options{Offer: kind})
				env, args, shared := p.open(t)
				args = append(args, acmeFlags(ca, servicesFile(t, hosts...))...)
				count := 1
				if shared {
					count = 3
				}
				nodes := newNodes(t, ca, count)
				for _, n := range nodes {
					n.start(env, args...)
				}
				for _, host := range hosts {
					if spread := spreads(t, nodes, host); len(nodes) > 1 {
						t.Logf("%s: all nodes serve it %v after the first one", host, spread.Round(time.Millisecond))
					}
					if n := ca.Orders(host); n != 1 {
						t.Errorf("%s was ordered %d times, want once", host, n)
					}
				}
				verified := &http.Client{Transport: &http.Transport{
					TLSClientConfig: &tls.Config{RootCAs: ca.Roots()}, DisableKeepAlives: true,
					DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
						return (&net.Dialer{}).DialContext(ctx, network, ca.TLS)
					},
				}}
				res, err := verified.Get("https://a.example.org/")
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("https://a.example.org/ answered %s", res.Status)
				}
			})
		}
	}
}

// spreads waits until all nodes serve the same certificate for a host, and
// returns how long that took from the first of them.
func spreads(t *testing.T, nodes []*node, host string) time.Duration {
	t.Helper()
	serials := make([]string, len(nodes))
	var first time.Time
	until(t, "a certificate for "+host, func() bool {
		all := true
		for i, n := range nodes {
			if serials[i] == "" {
				serials[i] = n.serial(host)
			}
			switch {
			case serials[i] == "":
				all = false
			case first.IsZero():
				first = time.Now()
			}
		}
		return all
	})
	for _, serial := range serials {
		if serial != serials[0] {
			t.Errorf("%s: nodes serve the certificates %v", host, serials)
		}
	}
	return time.Since(first)
}
