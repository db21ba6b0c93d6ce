package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/hello"
	"serai/hello/echo"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
	flag.Set("test.parallel", "8") // unless the command line has -parallel: these mostly wait
	goleak.VerifyTestMain(m,
		// fasthttp keeps these for a while, or for good.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// The CA of the tests.
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// asMain makes the test's executable be serai: the tests that need several
// processes run themselves.
const asMain = "SERAI_TEST_AS_MAIN"

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// buffer is output that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is a running command.
type process struct {
	stdout, stderr buffer
	stop           context.CancelFunc
	ended          chan error
}

// start runs a command as main does.
func start(t *testing.T, env map[string]string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{stop: cancel, ended: make(chan error, 1)}
	go func() {
		p.ended <- run(ctx, args, func(name string) string { return env[name] }, &p.stdout, &p.stderr)
	}()
	t.Cleanup(func() {
		cancel()
		if err := p.wait(t); err != nil {
			t.Errorf("serai %s: %v", args[0], err)
		}
		if t.Failed() {
			t.Logf("standard error of serai %s:\n%s", args[0], p.stderr.String())
		}
	})
	return p
}

// wait returns how the command ended.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(long):
		t.Fatal("the command does not end")
		return nil
	}
}

// get asks for a host, on a connection of its own.
func get(address, host, path string) (int, string) {
	r, err := http.NewRequest("GET", "http://"+address+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	r.Host, r.Close = host, true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// instance runs a sample service and returns its registration.
func instance(t *testing.T, name string, tags ...string) nomad.Registration {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- hello.Serve(ctx, l, hello.Options{Name: name, Alloc: "alloc-" + name}) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return nomad.Registration{
		ID: "id-" + name, ServiceName: name, Namespace: "default", AllocID: "alloc-" + name, JobID: name,
		Tags: tags, Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
	}
}

// TestDevDoesWhatItPrints runs serai dev and every curl line that it prints,
// while instances come and go.
func TestDevDoesWhatItPrints(t *testing.T) {
	traffic, admin := testnet.Address(t), testnet.Address(t)
	p := start(t, nil, "dev", "--http="+traffic, "--admin="+admin, "--every=20ms")
	until(t, "dev", func() bool { status, _ := get(traffic, "whoami.example.org", "/"); return status == 200 })

	lines := regexp.MustCompile(`(?m)^  curl (?:-\S+ )*(?:'?-?H? ?'Host: (\S+)' )?'?http://(\S+?)(/[^\s']*)'? `).FindAllStringSubmatch(strings.ReplaceAll(p.stdout.String(), "\n", " \n"), -1)
	if len(lines) != 12 {
		t.Fatalf("%d curl lines, want 12:\n%s", len(lines), p.stdout.String())
	}
	for _, line := range lines {
		host, address, path := line[1], line[2], line[3]
		if host == "" {
			host = address
		}
		want := 200
		switch host {
		case "nobody.example.org":
			want = 404
		case "staff.example.org":
			want = 403
		}
		if status, body := get(address, host, path); status != want {
			t.Errorf("%s answered %d, want %d: %s", line[0], status, want, body)
		}
	}
	if _, body := get(traffic, "nobody.example.org", "/"); !strings.Contains(body, "no-host") {
		t.Errorf("an unknown host is answered without the reason: %s", body)
	}
	if _, body := get(traffic, "shop.example.org", "/api/items"); !strings.HasPrefix(body, "api,") || !strings.Contains(body, "GET /items") {
		t.Errorf("the path did not lead to the api service, stripped: %s", body)
	}
	if _, body := get(traffic, "app.example.org", "/v1/users"); !strings.Contains(body, "GET /api/users") {
		t.Errorf("the path is not another one: %s", body)
	}
	for n := 2; n <= 6; n++ { // the first was a line's
		want := 200
		if n > 5 {
			want = 429
		}
		if status, _ := get(traffic, "limited.example.org", "/"); status != want {
			t.Errorf("request %d of five a minute is answered %d", n, status)
		}
	}
	if want := traffic + " " + echo.EchoName + "/Say"; !strings.Contains(p.stdout.String(), "grpcurl -plaintext -authority grpc.example.org -d '{\"text\": \"hello\"}' "+want) {
		t.Errorf("there is no line for grpcurl:\n%s", p.stdout.String())
	}
	client := dialGRPC(t, traffic, "grpc.example.org")
	for range 10 {
		var said echo.SayResponse
		if err := client.Invoke(t.Context(), echo.EchoSayProcedure, &echo.SayRequest{Text: "hello"}, &said); err != nil || said.Name != "echo" || said.Text != "hello" {
			t.Fatalf("the echo service answered %v, %v", &said, err)
		}
	}
	allocs := make(map[string]bool)
	for range 500 {
		status, body := get(traffic, "whoami.example.org", "/")
		if status != 200 {
			t.Fatalf("a request failed while instances come and go: %d %s", status, body)
		}
		first, _, _ := strings.Cut(body, "\n")
		allocs[first] = true
	}
	if len(allocs) < 5 {
		t.Errorf("500 requests met %d instances, though they come and go", len(allocs))
	}
}

// TestStaticServices serves instances of a file, and follows it.
func TestStaticServices(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "a", "ingress.host=a.example.org"), instance(t, "b", "ingress.host=b.example.org")
	file := filepath.Join(t.TempDir(), "services.json")
	write := func(r nomad.Registration) {
		text := fmt.Sprintf(`[{"ServiceName": %q, "Address": %q, "Port": %d, "Tags": [%q]}]`, r.ServiceName, r.Address, r.Port, r.Tags[0])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a)
	traffic, admin := testnet.Address(t), testnet.Address(t)
	start(t, nil, "serve", "--no-nomad", "--services="+file, "--http="+traffic, "--admin="+admin, "--drain-delay=0s", "--linger=0s")
	until(t, "service a", func() bool { status, _ := get(traffic, "a.example.org", "/"); return status == 200 })
	if err := os.WriteFile(file, []byte(`[{"ServiceName"`), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a complaint at /ready", func() bool {
		status, body := get(admin, "localhost", "/ready")
		return status == 200 && strings.Contains(body, "line 1, column")
	})
	if status, body := get(traffic, "a.example.org", "/"); status != 200 {
		t.Errorf("a broken file took away what works: %d %s", status, body)
	}
	write(b)
	until(t, "service b", func() bool { status, _ := get(traffic, "b.example.org", "/"); return status == 200 })
}

// TestDrain stops serai while requests are under way: it is not ready at once,
// serves on, finishes what is in flight, and ends without an error.
func TestDrain(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	traffic, admin := testnet.Address(t), testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=15s", "--drain-timeout=1m")
	until(t, "readiness", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })

	slow := make(chan string, 1)
	go func() {
		status, body := get(traffic, "web.example.org", "/slow?wait=20s")
		slow <- fmt.Sprint(status, " ", body)
	}()
	until(t, "the slow request", func() bool { return strings.Contains(metric(admin, "serai_requests_in_flight"), " 1") })
	p.stop()
	until(t, "unreadiness", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 503 })
	if status, _ := get(traffic, "web.example.org", "/"); status != 200 {
		t.Errorf("a request during the drain delay was answered %d", status)
	}
	if status, body := get(admin, "localhost", "/ready"); status != 503 || !strings.Contains(body, "stopping") {
		t.Errorf("/ready answered %d %s while stopping", status, body)
	}
	if answer := <-slow; !strings.HasPrefix(answer, "200 web waited 20s") {
		t.Errorf("the request in flight was answered %s", answer)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("a stop ended with %v", err)
	}
	if _, err := net.Dial("tcp", traffic); err == nil {
		t.Error("serai still accepts after its end")
	}
}

// TestHandOver: with --reuse-port a second process serves the same address
// before the first one goes, and whoever is connected is answered.
func TestHandOver(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	traffic := testnet.Address(t)
	serve := func() *process {
		p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin=", "--drain-delay=0s", "--reuse-port")
		until(t, "a listener", func() bool { return strings.Contains(p.stderr.String(), "msg=listening") })
		return p
	}
	old := serve()
	asking, enough := context.WithCancel(context.Background())
	defer enough()
	asked := make(chan int)
	go func() {
		n := 0
		for ; asking.Err() == nil; n++ {
			// Status 0 is a connection that waited in the queue of a listener
			// that closed: see docs/decisions/0003.
			if status, body := get(traffic, "web.example.org", "/"); status != 200 && status != 0 {
				t.Errorf("answered %d %s", status, body)
			}
		}
		asked <- n
	}()
	for range 5 {
		next := serve()
		old.stop()
		if err := old.wait(t); err != nil {
			t.Error(err)
		}
		old = next
	}
	enough()
	if n := <-asked; n == 0 {
		t.Error("nothing was asked")
	}
	if status, body := get(traffic, "web.example.org", "/"); status != 200 {
		t.Errorf("the last process answers %d %s", status, body)
	}
	if l, err := net.Listen("tcp", traffic); err == nil {
		l.Close()
		t.Error("a process without --reuse-port may share the address")
	}
}

// TestUnusedPortIsGivenBack: an address on which nobody has accepted yet is free
// once its listener is closed.
func TestUnusedPortIsGivenBack(t *testing.T) {
	address := testnet.Address(t)
	for range 2 {
		l, err := bind(address, "http", false, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// metric returns the lines of a metric.
func metric(admin, name string) string {
	_, body := get(admin, "localhost", "/metrics")
	var lines []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestRestartWhileNomadIsAway serves from the cache.
func TestRestartWhileNomadIsAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, url, away := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	traffic, admin := testnet.Address(t), testnet.Address(t)
	args := []string{"serve", "--http=" + traffic, "--admin=" + admin, "--drain-delay=0s", "--state-dir=" + dir}
	env := map[string]string{"NOMAD_ADDR": url}
	first := start(t, env, args...)
	until(t, "the service", func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
	first.stop()
	if err := first.wait(t); err != nil {
		t.Fatal(err)
	}
	away()
	start(t, env, args...)
	until(t, "the service from the cache", func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
	if status, body := get(admin, "localhost", "/ready"); status != 200 || !strings.Contains(body, "served from the cache of") {
		t.Errorf("/ready answered %d, and does not name the cache: %s", status, body)
	}
}

// TestNothingIsKnown answers 503, never 404, as long as Nomad was never heard.
func TestNothingIsKnown(t *testing.T) {
	t.Parallel()
	traffic := testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": "http://" + testnet.Address(t)}, "serve", "--http="+traffic, "--admin=", "--drain-delay=0s")
	until(t, "an answer", func() bool {
		status, body := get(traffic, "web.example.org", "/")
		return status == 503 && strings.Contains(body, "starting")
	})
	if status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); status != 503 {
		t.Errorf("the ready path answered %d before anything is known", status)
	}
	until(t, "the log to say that Nomad is unreachable", func() bool {
		return strings.Contains(p.stderr.String(), "nomad agent unreachable") || strings.Contains(p.stderr.String(), "connection refused")
	})
}

// TestMissingPolicy prints what to add.
func TestMissingPolicy(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	sim.SetACL(true)
	sim.PutToken(nomadsim.Token{Secret: "s"})
	p := start(t, map[string]string{"NOMAD_ADDR": url, "NOMAD_TOKEN": "s"}, "serve", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s")
	until(t, "the policy", func() bool {
		return strings.Contains(p.stderr.String(), `capabilities = ["read-job"]`) && strings.Contains(p.stderr.String(), "  variables {") && strings.Contains(p.stderr.String(), "nomad acl policy apply")
	})
}

// TestTokenFileIsMissing warns, once, although a cluster without ACLs refuses nothing.
func TestTokenFileIsMissing(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	missing := filepath.Join(t.TempDir(), "none")
	for file, want := range map[string]int{missing: 1, secretFile(t, "token", "t"): 0} {
		p := start(t, map[string]string{"NOMAD_ADDR": url, "NOMAD_TOKEN_FILE": file}, "serve", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s")
		until(t, "the rights", func() bool { return strings.Contains(p.stderr.String(), "nomad lets serai do all") })
		p.stop()
		if err := p.wait(t); err != nil {
			t.Error(err)
		}
		log := p.stderr.String()
		if n := strings.Count(log, "the token file for nomad cannot be read"); n != want || want > 0 && !strings.Contains(log, missing) {
			t.Errorf("with the token file %s: %d warnings, want %d: %s", file, n, want, log)
		}
	}
}

// TestKillTimeout warns when Nomad would kill serai before it has drained.
func TestKillTimeout(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	sim.PutTask(nomad.Task{Namespace: "default", Job: "serai", Group: "g", Name: "t"}, 5*time.Second)
	env := map[string]string{"NOMAD_ADDR": url, "NOMAD_NAMESPACE": "default", "NOMAD_JOB_ID": "serai", "NOMAD_GROUP_NAME": "g", "NOMAD_TASK_NAME": "t"}
	p := start(t, env, "serve", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s", "--drain-timeout=20s")
	until(t, "the warning", func() bool {
		log := p.stderr.String()
		return strings.Contains(log, "kill_timeout=5s") && strings.Contains(log, "needed=20s")
	})
}

// TestWhereSettingsComeFrom: the command line, then the environment, then the
// config file.
func TestWhereSettingsComeFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serai.hcl")
	text := `
http        = "file:1"
admin       = "file:2"
tag_prefix  = "file"
namespaces  = ["*", "!secret"]
max-head    = 4096
retry-share = 0.5
trusted-proxies = ["10.0.0.0/8", "192.168.0.1"]

namespace "team-a" {
  hosts = ["*.team-a.example.org"]
}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SERAI_ADMIN": "env:2", "SERAI_HTTP": "env:1", "SERAI_CONFIG": file, "SERAI_DRAIN_DELAY": "3s"}
	var c commands
	if _, err := parse(t.Context(), &c, []string{"serve", "--http=line:1"}, func(n string) string { return env[n] }, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	s := c.Serve
	got := fmt.Sprint(s.HTTP, s.Admin, s.TagPrefix, s.Namespaces, s.MaxHead, s.RetryShare, prefixes(s.TrustedProxies), s.DrainDelay.value(), s.file.namespaceHosts)
	want := "line:1 env:2 file [* !secret] 4096 0.5 [10.0.0.0/8 192.168.0.1/32] 3s map[team-a:[*.team-a.example.org]]"
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("settings %s, want %s", got, want)
	}
}

// TestBadInput: each gets an error of usage that says what is wrong, and
// nothing is started.
func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(text string) string {
		f, err := os.CreateTemp(dir, "*.hcl")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.WriteString(text)
		return f.Name()
	}
	type env = map[string]string
	for _, c := range []struct {
		name string
		env  env
		args []string
		want string // in the error
	}{
		{"no command", nil, nil, "expected one of"},
		{"unknown command", nil, []string{"serv"}, "unexpected argument serv"},
		{"unknown flag", nil, []string{"serve", "--htttp=:80"}, `did you mean one of "--http", "--https", "--http2"?`},
		{"bad duration", nil, []string{"serve", "--drain-delay=10"}, `"10" is not a duration such as 500ms, 10s or 2m`},
		{"negative duration", nil, []string{"serve", "--drain-delay=-1s"}, "is negative"},
		{"bad duration in the environment", env{"SERAI_DRAIN_DELAY": "soon"}, []string{"serve"}, `"soon" is not a duration`},
		{"bad CIDR", nil, []string{"serve", "--trusted-proxies=10.0.0.0/33"}, `"10.0.0.0/33" is not an address or CIDR`},
		{"CIDR with a zone", nil, []string{"serve", "--upstream-networks=fe80::%eth0/10"}, "is not an address or CIDR"},
		{"bad number", nil, []string{"serve", "--max-head=lots"}, "max-head"},
		{"head beyond the buffer", nil, []string{"serve", "--http=127.0.0.1:0", "--admin=", "--max-head=99999999"}, "head limit 99999999 is not within"},
		{"no head at all", nil, []string{"serve", "--max-head=0"}, "want at least 1"},
		{"negative connections", nil, []string{"serve", "--upstream-max-idle=-1"}, "--upstream-max-idle=-1 is negative"},
		{"fewer than no handshakes", nil, []string{"serve", "--max-handshakes=-1", "--max-connections=-2"}, "--max-handshakes=-1 is negative"},
		{"too little memory", nil, []string{"serve", "--memory=5"}, "--memory=5 is not 0, and less than 32 MiB"},
		{"memory in bytes", nil, []string{"serve", "--memory=134217728"}, "--memory=134217728 is more than 1048576 MiB"},
		{"memory beyond 64 bits", nil, []string{"serve", "--memory=17592186044417"}, "is more than 1048576 MiB"},
		{"no bytes to wait with", nil, []string{"serve", "--max-waiting-bytes=0"}, "--max-waiting-bytes=0 is not at least 1"},
		{"bad share", nil, []string{"serve", "--retry-share=7"}, "--retry-share=7 is not between 0 and 1"},
		{"bad log level", nil, []string{"serve", "--log-level=loud"}, `--log-level: "loud" is not DEBUG, INFO, WARN or ERROR`},
		{"namespaces that are empty", nil, []string{"serve", "--namespaces="}, "--namespaces names none"},
		{"bad default host", nil, []string{"serve", "--default-host={servcie}.example.org"}, `--default-host="{servcie}.example.org": {servcie} stands for nothing; did you mean {service}?`},
		{"bad default host in the environment", env{"SERAI_DEFAULT_HOST": "www.example.org"}, []string{"serve"}, `SERAI_DEFAULT_HOST="www.example.org": all services would have the same host`},
		{"bad prefix", nil, []string{"serve", "--tag-prefix=a=b"}, `tag prefix "a=b"`},
		{"bad class", nil, []string{"serve", "--class=a b"}, `class "a b"`},
		{"bad namespace", nil, []string{"serve", "--namespaces=[a"}, `namespace pattern "[a"`},
		{"no namespace left", nil, []string{"serve", "--namespaces=a,!a"}, "leave none to watch"},
		{"bad ready path", nil, []string{"serve", "--ready-path=ready"}, `ready path "ready" does not start with a slash`},
		{"a port without its colon", nil, []string{"serve", "--http=8080"}, "--http=8080 is no address to listen on: want :8080"},
		{"a port without its colon in the environment", env{"SERAI_HTTP": "8080"}, []string{"serve"}, "SERAI_HTTP=8080 is no address to listen on: want :8080"},
		{"an address without a port", nil, []string{"serve", "--http=127.0.0.1"}, "want 127.0.0.1:PORT"},
		{"IPv6 without brackets", nil, []string{"serve", "--http=::1:8080"}, "want [::1]:8080, where 8080 is the port"},
		{"IPv6 without a port", nil, []string{"serve", "--http=fd00::abcd"}, "want [fd00::abcd]:PORT"},
		{"brackets without a port", nil, []string{"serve", "--http=[::1]"}, "want [::1]:PORT"},
		{"a name without a port", nil, []string{"serve", "--http=localhost"}, "want HOST:PORT or :PORT"},
		{"a URL to listen on", nil, []string{"serve", "--http=http://127.0.0.1:80"}, "want HOST:PORT or :PORT"},
		{"a port beyond all", nil, []string{"serve", "--http=:99999"}, "want a port from 1 to 65535"},
		{"a port below all", nil, []string{"serve", "--http=:-1"}, "want a port from 1 to 65535"},
		{"two addresses", nil, []string{"serve", "--http=[::1]:80,127.0.0.1:80"}, "want one address; only a port, such as :80"},
		{"a colon alone", nil, []string{"serve", "--http=:"}, "want a port from 1 to 65535"},
		{"an admin port without its colon", nil, []string{"serve", "--http=127.0.0.1:0", "--admin=8081"}, "--admin=8081 is no address to listen on: want :8081"},
		{"no listener", nil, []string{"serve", "--http="}, "no listener"},
		{"nothing to route", nil, []string{"serve", "--no-nomad"}, "leaves nothing to route to"},
		{"an address of Consul that is none", nil, []string{"serve", "--consul=ftp://consul"}, "its scheme is neither http, https nor unix"},
		{"Consul's addresses without Consul", nil, []string{"serve", "--consul-address=wan"}, "--consul-address without --consul has no effect"},
		{"no query for Consul", nil, []string{"serve", "--consul", "--consul-watches=0"}, "--consul-watches=0 is not at least 1"},
		{"certificates without a place", nil, []string{"serve", "--acme-email=a@example.org"}, "--cert-store=file keeps certificates in --state-dir: set it, or --cert-store=nomad"},
		{"an email that is none", nil, []string{"serve", "--acme-email=me", "--cert-store=nomad"}, `email "me" is no address`},
		{"a CA without an account", nil, []string{"serve", "--acme-directory=https://ca.example.org/"}, "no certificate is ordered without --acme-email"},
		{"a CA over plain HTTP", nil, []string{"serve", "--acme-email=a@example.org", "--cert-store=nomad", "--acme-directory=http://ca.example.org/"}, "is no https URL"},
		{"a CA root that is not there", nil, []string{"serve", "--acme-email=a@example.org", "--cert-store=nomad", "--acme-ca-root=" + filepath.Join(dir, "none")}, "--acme-ca-root"},
		{"hosts that are none", nil, []string{"serve", "--acme-email=a@example.org", "--cert-store=nomad", "--acme-hosts=https://a/"}, "is neither a name, nor *.NAME, nor *"},
		{"half an external account", nil, []string{"serve", "--acme-email=a@example.org", "--cert-store=nomad", "--acme-eab-key-id=x"}, "wants both its key ID and its MAC key"},
		{"autocert in a cluster", nil, []string{"serve", "--acme-email=a@example.org", "--acme-engine=autocert", "--cert-store=nomad"}, "is for one node"},
		{"autocert in a task of Nomad's", env{"NOMAD_ALLOC_ID": "x"}, []string{"serve", "--acme-email=a@example.org", "--acme-engine=autocert", "--state-dir=" + dir}, "each node of a system job would order every certificate"},
		{"autocert without a place", nil, []string{"serve", "--acme-email=a@example.org", "--acme-engine=autocert"}, "--state-dir"},
		{"Nomad's store without Nomad", nil, []string{"serve", "--no-nomad", "--services=x", "--acme-email=a@example.org", "--cert-store=nomad"}, "--cert-store=nomad needs Nomad"},
		{"a short secret", nil, []string{"serve", "--acme-email=a@example.org", "--cert-store=nomad", "--cert-key-file=" + file("short")}, "at least 16 bytes"},
		{"a secret for nothing", nil, []string{"serve", "--cert-key-file=" + file("short")}, "no store is in use"},
		{"a version of TLS that is none", nil, []string{"serve", "--tls-min-version=1.1"}, "tls-min-version"},
		{"client certificates without any of ours", nil, []string{"serve", "--config=" + file("client_certificates {\n hosts = [\"a.test\"]\n ca_file = \"none\"\n}\n")}, "there is no certificate to speak TLS with"},
		{"client certificates of a CA that is not there", nil, []string{"serve", "--cert-dir=" + dir, "--config=" + file("client_certificates {\n hosts = [\"a.test\"]\n ca_file = \"none\"\n}\n")}, "client certificates of a.test"},
		{"client certificates of no host", nil, []string{"serve", "--cert-dir=" + dir, "--config=" + file("client_certificates {\n ca_file = \"none\"\n}\n")}, "hosts"},
		{"a renewal without a store", nil, []string{"certs", "renew", "a.test", "--cert-store=file"}, "--state-dir"},
		{"a renewal in a directory that is not there", nil, []string{"certs", "renew", "a.test", "--cert-store=file", "--state-dir=" + filepath.Join(dir, "typo")}, "no serai keeps certificates there"},
		{"a renewal in a directory of something else", nil, []string{"certs", "renew", "a.test", "--cert-store=file", "--state-dir=" + dir}, "no serai keeps certificates there"},
		{"certificates that are not there", nil, []string{"serve", "--cert-dir=" + filepath.Join(dir, "none")}, "--cert-dir=" + filepath.Join(dir, "none") + ": open"},
		{"access log that cannot be written", nil, []string{"serve", "--access-log=" + filepath.Join(dir, "none", "log")}, "access log"},
		{"state directory that cannot be made", nil, []string{"serve", "--state-dir=/dev/null/x"}, "state directory"},
		{"bad Nomad address", env{"NOMAD_ADDR": "ftp://nomad"}, []string{"serve"}, "ftp://nomad"},
		{"config that is not there", nil, []string{"serve", "--config=" + filepath.Join(dir, "none")}, "config file"},
		{"config that is no HCL", nil, []string{"serve", "--config=" + file("http = ")}, ":1,"},
		{"config with an unknown setting", nil, []string{"serve", "--config=" + file("htttp = \":80\"")}, `did you mean "http"?`},
		{"config with a wrong type", nil, []string{"serve", "--config=" + file("http = {}")}, "wants a string"},
		{"config with a wrong value", nil, []string{"serve", "--config=" + file("drain-delay = 10")}, `"10" is not a duration`},
		{"config with an unknown block", nil, []string{"serve", "--config=" + file("names \"a\" {}")}, "names"},
		{"namespace without hosts", nil, []string{"serve", "--config=" + file(`namespace "a" {}`)}, "hosts"},
		{"namespace twice", nil, []string{"serve", "--config=" + file("namespace \"a\" {\n hosts = []\n}\nnamespace \"a\" {\n hosts = []\n}\n")}, "one block"},
		{"share twice", nil, []string{"serve", "--config=" + file("share \"a.test\" {\n namespaces = [\"a\"]\n}\nshare \"a.test\" {\n namespaces = []\n}\n")}, "one block for host"},
		{"share without namespaces", nil, []string{"serve", "--config=" + file("share \"a.test\" {}\n")}, "namespaces"},
		{"share with nobody", nil, []string{"serve", "--config=" + file("share \"a.test\" {\n namespaces = []\n}\n")}, "no namespace is named"},
		{"share with a pattern", nil, []string{"serve", "--config=" + file("share \"a.test\" {\n namespaces = [\"a\", \"*\"]\n}\n")}, `"*" is not the name of a namespace`},
		{"share with no name", nil, []string{"serve", "--config=" + file("share \"a.test\" {\n namespaces = [\"\"]\n}\n")}, "is not the name of a namespace"},
		{"share in two spellings", nil, []string{"serve", "--config=" + file("share \"a.test\" {\n namespaces = [\"a\"]\n}\nshare \"A.test.\" {\n namespaces = [\"b\"]\n}\n")}, "are the same host"},
		{"share of a bad host", nil, []string{"serve", "--config=" + file("share \"http://x\" {\n namespaces = [\"a\"]\n}\n")}, "is a URL or has a path"},
		{"share of an owned host", nil, []string{"serve", "--config=" + file("namespace \"a\" {\n hosts = [\"*.test\"]\n}\nshare \"b.test\" {\n namespaces = [\"a\", \"b\"]\n}\n")}, `.hcl:4,1-15: Share without effect; "b.test" belongs to namespace "a", by "*.test" at`},
		{"share of an owned host, written first", nil, []string{"serve", "--config=" + file("share \"*.b.test\" {\n namespaces = [\"b\"]\n}\nnamespace \"a\" {\n hosts = [\"*.b.test\"]\n}\n")}, `.hcl:4,1-14;`},
		{"share of all hosts, owned", nil, []string{"serve", "--config=" + file("share \"*\" {\n namespaces = [\"b\"]\n}\nnamespace \"a\" {\n hosts = [\"*\"]\n}\n")}, "Share without effect"},
		{"share among fewer than own it", nil, []string{"serve", "--config=" + file("share \"x.test\" {\n namespaces = [\"b\"]\n}\nnamespace \"a\" {\n hosts = [\"X.test.\"]\n}\nnamespace \"b\" {\n hosts = [\"x.test\"]\n}\n")}, "Share without effect"},
		{"share with one that has a list", nil, []string{"serve", "--config=" + file("namespace \"b\" {\n hosts = [\"b.test\"]\n}\nshare \"a.test\" {\n namespaces = [\"a\", \"b\"]\n}\n")}, `namespace "b" may claim only the hosts of its block at`},
		{"no claims at all", nil, []string{"serve", "--max-claims-namespace=0"}, "--max-claims-namespace=0 is not at least 1"},
		{"namespace with a bad host", nil, []string{"serve", "--config=" + file("namespace \"a\" {\n hosts = [\"http://x\"]\n}\n")}, "is a URL or has a path"},
		{"certs of two places", nil, []string{"certs", "list", "--cert-dir=a", "--admin=b"}, "can't be used together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), long)
			defer cancel()
			err := run(ctx, c.args, func(n string) string { return c.env[n] }, io.Discard, io.Discard)
			var usage *usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one of usage with %q", err, c.want)
			}
			if len(c.args) == 0 || c.args[0] != "serve" {
				return
			}
			var out bytes.Buffer
			err = run(ctx, append([]string{"check", "-json"}, c.args[1:]...), func(n string) string { return c.env[n] }, &out, io.Discard)
			if !errors.As(err, &usage) {
				t.Errorf("check: error %v, want one of usage", err)
			}
			said, found := checked(t, out.String()), false
			for _, f := range said.Findings {
				found = found || f.Level == wrong && strings.Contains(f.Part+": "+f.What, c.want)
			}
			if !found || said.Errors == 0 {
				t.Errorf("check says %+v, without %q", said, c.want)
			}
		})
	}
}

// TestSharesThatHaveAnEffect are taken: part of what they name is nobody's, or they
// say what a namespace block says.
func TestSharesThatHaveAnEffect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serai.hcl")
	for name, text := range map[string]string{
		"another host":            "namespace \"a\" {\n hosts = [\"a.test\"]\n}\nshare \"b.test\" {\n namespaces = [\"b\", \"c\"]\n}\n",
		"one name below is owned": "namespace \"a\" {\n hosts = [\"a.x.test\"]\n}\nshare \"*.x.test\" {\n namespaces = [\"b\", \"c\"]\n}\n",
		"above what is owned":     "namespace \"a\" {\n hosts = [\"*.x.test\"]\n}\nshare \"x.test\" {\n namespaces = [\"b\", \"c\"]\n}\n",
		"the owners themselves":   "namespace \"a\" {\n hosts = [\"*.x.test\"]\n}\nnamespace \"b\" {\n hosts = [\"*.x.test\"]\n}\nshare \"w.x.test\" {\n namespaces = [\"b\", \"a\", \"a\"]\n}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readConfig(path, nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPortTaken names the flag.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = run(context.Background(), []string{"serve", "--http=" + l.Addr().String()}, func(string) string { return "" }, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "set --http") {
		t.Errorf("error %v, want one that names the flag", err)
	}
	err = run(context.Background(), []string{"serve", "--http=192.0.2.1:0"}, func(string) string { return "" }, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--http wants an address that this machine has now") || strings.Contains(err.Error(), "free") {
		t.Errorf("error %v, want one that does not speak of an address that is taken", err)
	}
}

// TestCertsOfADirectory are listed without any serai.
func TestCertsOfADirectory(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"certs", "list", "--cert-dir=" + selfSigned(t)}, func(string) string { return "" }, &out, io.Discard); err != nil || !strings.Contains(out.String(), "default.crt") {
		t.Errorf("serai certs list --cert-dir: %v\n%s", err, out.String())
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"help"}, {"help", "serve"}, {"version"}} {
		var out bytes.Buffer
		if err := run(context.Background(), args, func(string) string { return "" }, &out, io.Discard); err != nil || !strings.Contains(out.String(), "serai") {
			t.Errorf("serai %s: %v\n%s", args, err, out.String())
		}
	}
}
