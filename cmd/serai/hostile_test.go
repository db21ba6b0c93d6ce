package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serai/internal/testhttp2"
	"serai/internal/testnet"
)

// TestHTTP2Attacks runs serai with little memory, and has it attacked in each way over each
// listener, one connection after the other. Each of them ends as it should and is counted,
// another client is answered all the time, and what serai takes stays small.
func TestHTTP2Attacks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Run("at once", func(t *testing.T) { attackHTTP2(t, testhttp2.Attacks()) })
	t.Run("slow", func(t *testing.T) {
		attackHTTP2(t, testhttp2.SlowAttacks(), "--write-idle=1s", "--head-timeout=1s")
	})
}

// mostTaken is how much more serai may have resident behind the attacks than before,
// in KiB. All that one connection may hold is a fifth of it, and --memory a half.
const mostTaken = 64 << 10

func attackHTTP2(t *testing.T, attacks []testhttp2.Attack, flags ...string) {
	web := httptest.NewServer(http.HandlerFunc(testhttp2.Serve))
	defer web.Close()
	dir := t.TempDir()
	authority(t).write(t, dir, "default", "a.example.org")
	services := filepath.Join(dir, "services.json")
	text := fmt.Sprintf(`[{"ServiceName": "web", "Address": "127.0.0.1", "Port": %d, "Tags": ["ingress.host=a.example.org"]}]`, web.Listener.Addr().(*net.TCPAddr).Port)
	if err := os.WriteFile(services, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	n.runLimited(1024, append([]string{"--no-nomad", "--memory=32", "--cert-dir=" + dir, "--services=" + services}, flags...)...)
	defer n.kill(syscall.SIGTERM)
	until(t, "readiness", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	until(t, "ready instances", func() bool { return len(n.notReady(t)) == 0 })

	dial := func(secure bool) *testhttp2.Peer {
		var c net.Conn
		var err error
		if secure {
			c, err = tls.Dial("tcp", n.https, &tls.Config{ServerName: "a.example.org", InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		} else {
			c, err = net.Dial("tcp", n.http)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(long))
		return testhttp2.NewPeer(c, "a.example.org")
	}
	others := bystanders(t, dial)
	before := n.resident(t, "VmRSS")
	for _, secure := range []bool{false, true} {
		for _, a := range attacks {
			t.Run(fmt.Sprintf("%s, TLS %v", a.Name, secure), func(t *testing.T) {
				counter := fmt.Sprintf(`serai_http2_limits_total{cause="%s"}`, a.Cause)
				had := metric(n.admin, counter)
				p := dial(secure)
				defer p.Conn.Close()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					a.Run(p)
				}()
				if a.Reads {
					<-ended
					until(t, "the counter "+a.Cause, func() bool { return metric(n.admin, counter) != had })
				}
				code, detail, err := p.End()
				if err != nil || code != 0 && code != a.Code {
					t.Errorf("it ends with %v %s, %v; want %v", code, detail, err, a.Code)
				}
				<-ended
				until(t, "the counter "+a.Cause, func() bool { return metric(n.admin, counter) != had })
			})
		}
	}
	others()
	until(t, "the end of all streams", func() bool { return metric(n.admin, "serai_http2_streams ") == "serai_http2_streams 0\n" })
	if most := n.resident(t, "VmHWM"); most > before+mostTaken {
		t.Errorf("%d KiB were resident, of %d before", most, before)
	} else {
		t.Logf("%d KiB were resident at most, of %d before", most, before)
	}
}

// bystanders ask one thing after the other over both listeners, until stop is called.
func bystanders(t *testing.T, dial func(secure bool) *testhttp2.Peer) (stop func()) {
	over := make(chan struct{})
	var asking sync.WaitGroup
	for _, secure := range []bool{false, true} {
		p := dial(secure)
		asking.Go(func() {
			defer p.Conn.Close()
			for id := uint32(1); ; id += 2 {
				select {
				case <-over:
					return
				case <-time.After(10 * time.Millisecond):
				}
				p.Conn.SetDeadline(time.Now().Add(long))
				p.Get(id, "/")
				if a, err := p.Answer(id); err != nil || a.Status != "200" || !a.Whole {
					t.Errorf("TLS %v: another client's stream %d is answered %+v, %v", secure, id, a, err)
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(over)
		asking.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// resident returns a line of /proc/PID/status in KiB.
func (n *node) resident(t *testing.T, line string) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(l, line+":"); found {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
