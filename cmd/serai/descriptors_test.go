package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/testnet"
)

// TestDescriptorsAreShared runs serai with 256 file descriptors, and has more
// clients ask a slow service over both listeners than there are descriptors.
// Admin goes on answering, no instance is thought ill of, those that cannot be
// served are told why, and afterwards all is as before.
func TestDescriptorsAreShared(t *testing.T) {
	slow, release := newSlow(t)
	dir := t.TempDir()
	authority(t).write(t, dir, "default", "slow.example.org")
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	n.runLimited(256, "--no-nomad", "--cert-dir="+dir, "--services="+slow.services(t, dir))
	defer n.kill(syscall.SIGTERM)
	until(t, "readiness", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	until(t, "ready instances", func() bool { return len(n.notReady(t)) == 0 })
	if status, body := get(n.http, "web.example.org", "/"); status != 200 {
		t.Fatalf("before the flood: %d %s", status, body)
	}

	plain := func() (net.Conn, error) { return net.Dial("tcp", n.http) }
	secure := func() (net.Conn, error) {
		d := &net.Dialer{Timeout: long}
		return tls.DialWithDialer(d, "tcp", n.https, &tls.Config{ServerName: "slow.example.org", InsecureSkipVerify: true})
	}
	var answers answerCount
	var clients sync.WaitGroup
	for range 150 {
		clients.Go(func() { answers.ask(plain) })
		clients.Go(func() { answers.ask(secure) })
	}
	until(t, "refusals", func() bool { return answers.of("503 no-descriptor") > 0 })
	for range 20 {
		for _, path := range []string{"/ready", "/metrics"} {
			if status, body := get(n.admin, "", path); status != 200 {
				t.Errorf("in the flood %s answers %d %.200s", path, status, body)
			}
		}
		if ill := n.notReady(t); len(ill) > 0 {
			t.Fatalf("in the flood instances are not ready: %+v", ill)
		}
		time.Sleep(10 * time.Millisecond)
	}
	release()
	clients.Wait()
	t.Logf("answers: %v", answers.n)
	if answers.of("200 ") < 32 {
		t.Errorf("%d of 300 clients were answered", answers.of("200 "))
	}
	for what, count := range answers.n {
		if what != "200 " && what != "503 no-descriptor" && what != "refused" {
			t.Errorf("%d clients got %s", count, what)
		}
	}
	// What the flood left idle makes room for others.
	for _, host := range []string{"web.example.org", "slow.example.org"} {
		if status, body := get(n.http, host, "/"); status != 200 {
			t.Errorf("after the flood %s answers %d %s", host, status, body)
		}
	}
}

// TestSlowServiceLeavesDescriptors: one client has more requests of a slow service in flight, over a
// few connections, than there are connections to instances. Another service is served as before.
func TestSlowServiceLeavesDescriptors(t *testing.T) {
	slow, release := newSlow(t)
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	n.runLimited(256, "--no-nomad", "--services="+slow.services(t, t.TempDir()))
	defer n.kill(syscall.SIGTERM)
	until(t, "ready instances", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 && len(n.notReady(t)) == 0 })
	var answers answerCount
	var clients sync.WaitGroup
	defer func() { t.Logf("answers: %v", answers.n) }()
	defer clients.Wait()
	defer release()
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	request := func(host, path string) *http.Request {
		r, _ := http.NewRequest("GET", "http://"+n.http+path, nil)
		r.Host = host
		return r
	}
	for range 2 {
		client := &http.Client{Transport: &http.Transport{Protocols: h2c}}
		defer client.CloseIdleConnections()
		// The first request makes the connection: at once, they would make a hundred.
		first, err := client.Do(request("web.example.org", "/"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, first.Body)
		first.Body.Close()
		for range 100 {
			clients.Go(func() {
				r := request("slow.example.org", "/slow")
				res, err := client.Do(r)
				if err != nil {
					answers.add(err.Error())
					return
				}
				res.Body.Close()
				answers.add(fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Serai-Reason")))
			})
		}
	}
	// All but those that wait for the slow service have been refused.
	until(t, "refusals", func() bool { return answers.of("503 no-descriptor") >= 200-64 })
	for range 20 {
		if status, body := get(n.http, "web.example.org", "/"); status != 200 {
			t.Fatalf("in the flood another service answers %d %s", status, body)
		}
	}
	release()
	clients.Wait()
	if answers.of("200 ") < 32 {
		t.Errorf("answers: %v", answers.n)
	}
}

// TestSlowBodiesLeaveDescriptors: one client sends bodies to all services, as slowly as it may and more
// than there are connections to instances. Another one is served as before.
func TestSlowBodiesLeaveDescriptors(t *testing.T) {
	instances, _ := newSlow(t)
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	n.runLimited(256, "--no-nomad", "--services="+instances.services(t, t.TempDir()))
	defer n.kill(syscall.SIGTERM)
	until(t, "ready instances", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 && len(n.notReady(t)) == 0 })
	hosts := []string{"web.example.org", "slow.example.org"}
	other := func(host string) (what string) {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).Dial("tcp", n.http)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(long))
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", host)
		time.Sleep(10 * time.Millisecond) // so that it needs a connection of its own
		io.WriteString(c, "0\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Serai-Reason"))
	}
	var answers answerCount
	var clients sync.WaitGroup
	var open []net.Conn
	for i := range 80 {
		c, err := net.Dial("tcp", n.http)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(long))
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", hosts[i%2])
		open = append(open, c)
		clients.Go(func() { answers.read(c) })
	}
	defer func() {
		for _, c := range open {
			io.WriteString(c, "0\r\n\r\n")
		}
		clients.Wait()
		if answers.of("200 ") < 32 || answers.of("200 ")+answers.of("503 no-descriptor") != len(open) {
			t.Errorf("answers to the flood: %v", answers.n)
		}
	}()
	until(t, "refusals", func() bool { return answers.of("503 no-descriptor") >= len(open)-64 })
	for range 10 {
		for _, host := range hosts {
			if what := other(host); what != "200 " {
				t.Fatalf("in the flood another client gets %s of %s", what, host)
			}
		}
	}
}

// slowInstances are two services, one of which answers /slow when it is told to.
type slowInstances struct{ web, slow net.Listener }

func newSlow(t *testing.T) (s *slowInstances, release func()) {
	t.Helper()
	told := make(chan struct{})
	serve := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if r.URL.Path == "/slow" {
				<-told
			}
		})}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		return l
	}
	release = sync.OnceFunc(func() { close(told) })
	t.Cleanup(release)
	return &slowInstances{serve(), serve()}, release
}

// services writes a file with the two.
func (s *slowInstances) services(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	for name, l := range map[string]net.Listener{"web": s.web, "slow": s.slow} {
		list = append(list, fmt.Sprintf(`{"ServiceName": %q, "Address": "127.0.0.1", "Port": %d, "Tags": ["ingress.host=%s.example.org"]}`,
			name, l.Addr().(*net.TCPAddr).Port, name))
	}
	file := filepath.Join(dir, "services.json")
	if err := os.WriteFile(file, []byte("["+strings.Join(list, ",")+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// runLimited runs serai with so many file descriptors.
func (n *node) runLimited(descriptors int, args ...string) {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, descriptors), self, "serve",
		"--http=" + n.http, "--https=" + n.https, "--admin=" + n.admin, "--drain-delay=0s", "--drain-timeout=1s"}, args...)...)
	n.cmd.Env = append(os.Environ(), asMain+"=1")
	n.cmd.Stdout, n.cmd.Stderr = n.output, n.output
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); close(ended) }(n.cmd, n.ended)
}

// notReady asks admin for the instances that take no requests.
func (n *node) notReady(t *testing.T) (ill []admin.Instance) {
	t.Helper()
	status, body := get(n.admin, "", "/instances")
	var all []admin.Instance
	if err := json.Unmarshal([]byte(body), &all); status != 200 || err != nil {
		t.Fatalf("/instances answers %d %.200s, %v", status, body, err)
	}
	for _, i := range all {
		if i.State != "ready" {
			ill = append(ill, i)
		}
	}
	return ill
}

// answerCount counts answers by status and reason.
type answerCount struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *answerCount) of(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[what]
}

// ask asks the slow service over a connection of its own.
func (a *answerCount) ask(dial func() (net.Conn, error)) {
	c, err := dial()
	if err != nil {
		a.add("refused")
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(long))
	io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: slow.example.org\r\nConnection: close\r\n\r\n")
	a.read(c)
}

// read counts the answer that comes over a connection.
func (a *answerCount) read(c net.Conn) {
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		a.add("refused")
		return
	}
	a.add(fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Serai-Reason")))
}

func (a *answerCount) add(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = make(map[string]int)
	}
	a.n[what]++
}
