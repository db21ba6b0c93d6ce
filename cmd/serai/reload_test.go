package main

import (
	"errors"
	"fmt"
	"io"
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

	"serai/internal/atomicfile"
	"serai/internal/testnet"
	"serai/nomad/nomadtest"
)

// configured is a serai with a config file.
type configured struct {
	*process
	t              *testing.T
	file           string
	traffic, admin string
}

// serveConfig starts one with the services of a simulated Nomad.
func serveConfig(t *testing.T, nomad, text string, args ...string) *configured {
	c := &configured{t: t, file: filepath.Join(t.TempDir(), "serai.hcl"), traffic: testnet.Address(t), admin: testnet.Address(t)}
	c.write(text)
	c.process = start(t, map[string]string{"NOMAD_ADDR": nomad}, append([]string{"serve", "--config=" + c.file, "--http=" + c.traffic, "--admin=" + c.admin, "--drain-delay=0s"}, args...)...)
	until(t, "readiness", func() bool { status, _ := get(c.admin, "localhost", "/ready"); return status == 200 })
	return c
}

// write replaces the config file as a template does.
func (c *configured) write(text string) {
	c.t.Helper()
	if err := atomicfile.Replace(c.file, []byte(text), false); err != nil {
		c.t.Fatal(err)
	}
}

// status is how a request for a host is answered, 0 when it is not. No redirect is
// followed.
func (c *configured) status(host string) int {
	r, _ := http.NewRequest("GET", "http://"+c.traffic+"/", nil)
	r.Host, r.Close = host, true
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func (c *configured) becomes(host string, want int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%s to be answered %d", host, want), func() bool { return c.status(host) == want })
}

// counts waits until so many changes have had a result.
func (c *configured) counts(result string, n int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%d changes that are %s", n, result), func() bool {
		return metric(c.admin, `serai_config_reloads_total{result="`+result+`"}`) == fmt.Sprintf("serai_config_reloads_total{result=%q} %d\n", result, n)
	})
}

// hammer asks for a host on connections of its own until the test has ended, and
// returns how often, and fails when an answer is not as it must be.
func (c *configured) hammer(host string, must func(status int) bool) (stop func() int64) {
	var asked atomic.Int64
	var all sync.WaitGroup
	end := make(chan struct{})
	for range 2 {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-end:
					return
				default:
				}
				r, _ := http.NewRequest("GET", "http://"+c.traffic+"/", nil)
				r.Host = host
				res, err := client.Do(r)
				if err != nil {
					c.t.Errorf("%s: %v", host, err)
					return
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if asked.Add(1); !must(res.StatusCode) {
					c.t.Errorf("%s is answered %d %s", host, res.StatusCode, body)
					return
				}
			}
		})
	}
	return func() int64 {
		close(end)
		all.Wait()
		return asked.Load()
	}
}

// denies is a policy that lets nobody through: all are 403, or redirected.
func denies(name string, more ...string) string {
	if len(more) == 0 {
		return fmt.Sprintf("policy %q {\n  allow = [\"192.0.2.1\"]\n}\n", name)
	}
	return fmt.Sprintf("policy %q {\n  redirect = \"/denied\"\n  %s\n}\n", name, strings.Join(more, "\n  "))
}

// TestReloadWhileRequestsRun adds, changes, removes and breaks policies while clients
// ask. No request of an open route fails, and at no moment does a guarded one answer.
func TestReloadWhileRequestsRun(t *testing.T) {
	t.Parallel()
	free := instance(t, "open", "ingress.host=open.test")
	free.Namespace = "public"
	sim, url, _ := nomadtest.Simulator(t, instance(t, "guarded", "ingress.host=guarded.test", "ingress.policies=guard"),
		instance(t, "later", "ingress.host=later.test", "ingress.policies=later"), instance(t, "plain", "ingress.host=plain.test"))
	sim.CreateNamespace(free.Namespace)
	sim.Register(free)
	c := serveConfig(t, url, denies("guard"))
	c.becomes("open.test", 200)
	c.becomes("guarded.test", 403)
	answered := func(status int) bool { return status == 200 }
	refused := func(status int) bool { return status != 200 }
	hammers := []func() int64{c.hammer("open.test", answered), c.hammer("guarded.test", refused), c.hammer("later.test", refused)}

	for round := range 2 {
		c.write(denies("guard", `redirect_status = 302`) + denies("later", "redirect_status = 303"))
		c.becomes("later.test", 303)
		c.becomes("guarded.test", 302)
		c.write(denies("guard") + "policy \"later\" {\n  redirectt = \"/x\"\n}\n")
		c.counts("refused", round+1)
		if s := c.status("later.test"); s != 303 {
			t.Errorf("a broken file changed what is in force: later.test is answered %d", s)
		}
		c.write(denies("guard") + denies("all") + "namespace \"def*\" {\n  policies = [\"all\"]\n}\n")
		c.becomes("plain.test", 403) // by the default of its namespace
		c.becomes("later.test", 503) // its policy is gone, so it is closed
		c.becomes("guarded.test", 403)
		c.write(denies("other")) // and so is the guard of this one
		c.becomes("guarded.test", 503)
		c.becomes("plain.test", 200)
	}
	for i, stop := range hammers {
		if n := stop(); n == 0 {
			t.Errorf("hammer %d has asked nothing", i)
		}
	}
	if log := c.stderr.String(); !strings.Contains(log, ":5,3-19: Wrong policy") || !strings.Contains(log, "did you mean redirect?") {
		t.Error("the log does not say where the file is wrong")
	}
}

// TestBrokenConfigIsAWarning: /ready says what is wrong and where until it is mended, and
// stays ready.
func TestBrokenConfigIsAWarning(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.test"))
	c := serveConfig(t, url, denies("a"))
	ready := func(want string, has bool) {
		t.Helper()
		until(t, "/ready to say "+want, func() bool {
			status, body := get(c.admin, "localhost", "/ready")
			if status != 200 {
				t.Fatalf("/ready answers %d %s", status, body)
			}
			return strings.Contains(body, want) == has
		})
	}
	for _, wrong := range []struct{ text, says string }{
		{"policy \"a\" {\n", ":1,"},
		{"", "is empty"},
		{"\n \n", "is empty"},
		{"htttp = 1", "did you mean"},
		{"\nlinger = \"soon\"", "linger in"},
		{"namespace \"a\" {\n  hosts = [\"http://x\"]\n}", ":1,1-14: Wrong namespace"},
		{"share \"a.test\" {\n  namespaces = [\"a\"]\n}\nshare \"A.test\" {\n  namespaces = [\"b\"]\n}", ":4,1-15: Wrong share"},
		{"namespace \"a\" {\n  policies = [\"b\"]\n}", ":2,14-19: Unknown policy"},
	} {
		c.write(wrong.text)
		ready(wrong.says, true)
	}
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	ready("no such file", true)
	if !strings.HasPrefix(metric(c.admin, "serai_config_wrong_seconds"), "serai_config_wrong_seconds ") || c.status("web.test") != 200 {
		t.Error("nothing is counted, or what was in force is not any more")
	}
	c.write(denies("b"))
	ready("config file:", false)
	c.write("http = \"127.0.0.1:1\"\n" + denies("b"))
	ready("config file: take effect at a restart: http", true)
	ready(`"wait_for_restart": [`, true)
	c.write(denies("b"))
	ready("config file:", false)
}

// TestConfigBehindALink: the file is a link into a directory that is swapped, as
// Kubernetes does, and the new one is older than the last one.
func TestConfigBehindALink(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.test", "ingress.policies=a"))
	dir := t.TempDir()
	for i, status := range []string{"301", "302"} {
		if err := os.Mkdir(filepath.Join(dir, status), 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, status, "serai.hcl")
		if err := os.WriteFile(file, []byte(denies("a", "redirect_status = "+status)), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Duration(1+i) * time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(to string) {
		next := filepath.Join(dir, "next")
		if err := errors.Join(os.Symlink(to, next), os.Rename(next, filepath.Join(dir, "data"))); err != nil {
			t.Fatal(err)
		}
	}
	swap("301")
	traffic, admin := testnet.Address(t), testnet.Address(t)
	c := &configured{t: t, traffic: traffic, admin: admin}
	c.process = start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--config="+filepath.Join(dir, "data", "serai.hcl"), "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	c.becomes("web.test", 301)
	swap("302")
	c.becomes("web.test", 302)
}

// TestHangupReadsTheConfigFile even when it has not changed.
func TestHangupReadsTheConfigFile(t *testing.T) {
	t.Parallel()
	services := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(services, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &configured{t: t, file: filepath.Join(t.TempDir(), "serai.hcl"), admin: testnet.Address(t)}
	c.write(denies("a"))
	cmd := exec.Command(os.Args[0], "serve", "--no-nomad", "--services="+services, "--config="+c.file, "--http="+testnet.Address(t), "--admin="+c.admin, "--drain-delay=0s")
	cmd.Env = append(os.Environ(), asMain+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	until(t, "readiness", func() bool { status, _ := get(c.admin, "localhost", "/ready"); return status == 200 })
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.counts("applied", 1)
}

// TestWhoWaitsIsAskedByNewPolicies: a request waits for an instance while its route gets
// a guard. It is not handed to the instance when that comes.
func TestWhoWaitsIsAskedByNewPolicies(t *testing.T) {
	t.Parallel()
	web := instance(t, "web", "ingress.host=web.test", "ingress.wait=10m")
	silent := web
	silent.Port = 1 // nobody listens
	sim, url, _ := nomadtest.Simulator(t, silent)
	c := serveConfig(t, url, "")
	answers := make(chan int, 1)
	go func() { answers <- c.status("web.test") }()
	until(t, "a request that waits", func() bool { return strings.Contains(metric(c.admin, "serai_waiting_requests"), " 1\n") })
	c.write(denies("all") + "namespace \"default\" {\n  policies = [\"all\"]\n}\n")
	c.counts("applied", 1)
	sim.Register(web)
	if status := <-answers; status != 403 {
		t.Errorf("the request that waited is answered %d", status)
	}
}

// TestTruncatedConfigOpensNothing: what keeps the routes of a namespace closed stays while the
// file is empty, as it is between the two steps of who writes it where it stands.
func TestTruncatedConfigOpensNothing(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.test"))
	text := denies("a") + "namespace \"*\" {\n  policies = [\"a\"]\n}\n"
	c := serveConfig(t, url, text)
	c.becomes("web.test", 403)
	stop := c.hammer("web.test", func(status int) bool { return status == 403 })
	if err := os.Truncate(c.file, 0); err != nil {
		t.Fatal(err)
	}
	c.counts("refused", 1)
	if err := os.WriteFile(c.file, []byte(text+denies("b")), 0o600); err != nil {
		t.Fatal(err)
	}
	c.counts("applied", 1)
	t.Logf("%d requests", stop())
}

// TestFileThatIsWrittenIsNotRead: who writes a file where it stands has the time to end.
func TestFileThatIsWrittenIsNotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	replaceFile(t, file, "a")
	written := time.Now()
	if err := os.Chtimes(file, written, written); err != nil {
		t.Fatal(err)
	}
	sums := map[string]fileSum{file: new(fileReader).sum(file), filepath.Join(t.TempDir(), "missing"): {missing: true}}
	for after, want := range map[time.Duration]bool{0: false, quiet / 2: false, quiet: true, time.Hour: true, -time.Hour: true} {
		if settled(sums, written.Add(after)) != want {
			t.Errorf("%v after it was written it is settled: %v", after, !want)
		}
	}
	r := &configReloader{files: &fileReader{}, seen: map[string]fileSum{file: {}}, read: func(*configFile) (*configFile, error) { return &configFile{sums: sums}, nil }}
	for n := 0; ; n++ {
		now := time.Now()
		if err := os.Chtimes(file, now, now); err != nil { // somebody writes without end
			t.Fatal(err)
		}
		_, changed, err := r.look(t.Context(), false)
		if err != nil || n > hasty {
			t.Fatalf("look %d: %v", n, err)
		}
		if changed {
			break // at the latest after so many looks
		}
	}
	if _, changed, _ := r.look(t.Context(), true); !changed {
		t.Error("who is asked to read it waits")
	}
}
