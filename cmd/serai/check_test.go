package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

// checks is what serai check -json prints.
type checks struct {
	Findings         []finding
	Errors, Warnings int
}

func checked(t *testing.T, text string) (c checks) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return c
}

// checkProgram runs serai check as a program of its own.
func checkProgram(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	return seraiProgram(t, env, append([]string{"check"}, args...)...)
}

// seraiProgram runs serai as a program of its own, with an environment that has nothing else.
func seraiProgram(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return runProgram(t, "", "/usr/bin/env", append(append([]string{"-i", asMain + "=1"}, env...), append([]string{self}, args...)...)...)
}

// TestCheck runs serai check beside what it is to find.
func TestCheck(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	forbidding := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Permission denied", http.StatusForbidden)
	}))
	t.Cleanup(forbidding.Close)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	dir := t.TempDir()
	certs := func(name string, end time.Time) string {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		writePair(t, d, "shop", authority(t).issueUntil(t, end, "shop.example.org"))
		return d
	}
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	free := func() string { return testnet.Address(t) }
	known, twice := []string{"NOMAD_ADDR=" + url}, free()
	half := certs("half", time.Now().Add(time.Hour))
	if err := os.Remove(filepath.Join(half, "shop.key")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   []string // of lines, each "LEVEL PART: what it has"
	}{
		"all is well":               {known, nil, 0, []string{"ok flags", "ok ports: can be listened on: --http, --admin", "ok nomad: lets serai do all"}},
		"with certificates":         {known, []string{"--https=" + free(), "--cert-dir=" + certs("good", time.Now().Add(30*24*time.Hour))}, 0, []string{"ok ports: --https", "ok certificates: valid certificates in --cert-dir: 1"}},
		"one expires soon":          {known, []string{"--https=" + free(), "--cert-dir=" + certs("soon", time.Now().Add(time.Hour))}, 0, []string{"warning certificates: (shop.example.org) expires at"}},
		"one has expired":           {known, []string{"--https=" + free(), "--cert-dir=" + certs("old", time.Now().Add(-time.Hour))}, 1, []string{"error certificates: has expired at"}},
		"one without its key":       {known, []string{"--https=" + free(), "--cert-dir=" + half}, 1, []string{"error certificates: shop.key: there is no such file"}},
		"a port is taken":           {known, []string{"--metrics=" + taken.Addr().String()}, 1, []string{"error ports: address already in use; free the address or set --metrics"}},
		"two ports are taken":       {known, []string{"--metrics=" + taken.Addr().String(), "--http=" + taken.Addr().String()}, 1, []string{"error ports: set --metrics", "error ports: set --http"}},
		"one port is meant for two": {known, []string{"--metrics=" + twice, "--http=0.0.0.0:" + strings.Split(twice, ":")[1]}, 1, []string{"error ports: address already in use"}},
		"ports are skipped":         {known, []string{"--metrics=" + taken.Addr().String(), "--skip=ports"}, 0, []string{"ok nomad"}},
		"an odd address":            {known, []string{"--http=80"}, 2, []string{"error ports: want :80"}},
		"no such address":           {known, []string{"--http=192.0.2.1:80"}, 1, []string{"error ports: wants an address that this machine has now"}},
		"nobody is nomad":           {[]string{"NOMAD_ADDR=http://" + free()}, nil, 1, []string{"error nomad: NOMAD_ADDR says where to look"}},
		"nomad is skipped":          {[]string{"NOMAD_ADDR=http://" + free()}, []string{"--skip=nomad,consul"}, 0, []string{"ok ports"}},
		"nomad forbids":             {[]string{"NOMAD_ADDR=" + forbidding.URL}, nil, 1, []string{"error nomad: attach the policy that follows"}},
		"nobody is consul":          {known, []string{"--consul=" + free()}, 1, []string{"error consul: unreachable"}},
		"consul forbids":            {known, []string{"--consul=" + strings.TrimPrefix(forbidding.URL, "http://")}, 1, []string{"error consul: attach the policy that follows"}},
		"static services":           {nil, []string{"--no-nomad", "--services=" + write("good.json", `[{"ServiceName": "a", "Tags": ["ingress.host=a.example.org"]}, {"ServiceName": "b"}]`)}, 0, []string{"ok services: our tags: 1"}},
		"bad static services":       {nil, []string{"--no-nomad", "--services=" + write("bad.json", `[{]`)}, 1, []string{"error services: bad.json"}},
		"an open admin":             {known, []string{"--admin=:" + strings.Split(free(), ":")[1]}, 0, []string{"warning admin: without a token or client certificate; set --admin-token-file"}},
		"no token file":             {known, []string{"--admin-token-file=" + filepath.Join(dir, "none")}, 2, []string{"error flags: --admin-token-file: open"}},
		"an unknown variable":       {append([]string{"SERAI_MAX_HAED=1"}, known...), nil, 0, []string{`warning start: "SERAI_MAX_HAED": did you mean "SERAI_MAX_HEAD"?`}},
		"a wrong variable":          {append([]string{"SERAI_MAX_HOPS=0"}, known...), nil, 2, []string{"error flags: SERAI_MAX_HOPS=0 is not at least 1"}},
		"a config file":             {known, []string{"--config=" + write("good.hcl", "max_hops = 3\n")}, 0, []string{"ok config file: good.hcl is understood"}},
		"two mistakes in it":        {known, []string{"--config=" + write("bad.hcl", "max_hosp = 3\nhtttp = \":80\"\n")}, 2, []string{"error config file: bad.hcl:1,1-9: Unknown setting", "error config file: bad.hcl:2,1-6"}},
		"its own flags in it":       {known, []string{"--config=" + write("own.hcl", "skip = \"ports\"\n")}, 2, []string{`error config file: "skip" is not a flag of serai serve`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--http=" + free(), "--admin=" + free()}, c.args...)
			text := checkProgram(t, c.env, args...)
			said := checkProgram(t, c.env, append(args, "-json")...)
			if text.status != c.status || said.status != c.status {
				t.Errorf("exit codes %d and %d, want %d:\n%s%s", text.status, said.status, c.status, text.out, text.err)
			}
			all := checked(t, said.out)
			if (all.Errors > 0) != (c.status > 0) || (text.err == "") != (c.status == 0) {
				t.Errorf("%d errors, and on standard error %q", all.Errors, text.err)
			}
			for _, want := range c.says {
				about, parts, _ := strings.Cut(want, ": ")
				found := false
				for _, f := range all.Findings {
					what := f.What + "; " + f.Do
					has := string(f.Level)+" "+f.Part == about
					for part := range strings.SplitSeq(parts, "; ") {
						has = has && strings.Contains(what, part)
					}
					found = found || has && strings.Contains(text.out, f.What)
				}
				if !found {
					t.Errorf("there is no %q in\n%s", want, text.out)
				}
			}
			if strings.Contains(name, "forbids") && (!strings.Contains(text.out, " acl policy ") || all.Findings[len(all.Findings)-1].Policy == "" || all.Findings[len(all.Findings)-1].Command == "") {
				t.Errorf("the policy is not told:\n%s", text.out)
			}
		})
	}
}

// TestCheckBesideServe: with --reuse-port it finds the ports of a serai that runs usable, takes no
// connection of it, and leaves what it has written.
func TestCheckBesideServe(t *testing.T) {
	t.Parallel()
	admin, state := testnet.Address(t), t.TempDir()
	_, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")}, "--admin="+admin, "--reuse-port")
	until(t, "an answer", func() bool { status, _ := get(address, "web.example.org", "/"); return status == 200 })
	last := lastStopFile(state)
	if err := os.MkdirAll(filepath.Dir(last), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(last, []byte(`{"cut": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	services := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(services, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--no-nomad", "--services=" + services, "--http=" + address, "--admin=" + admin, "--state-dir=" + state}
	stop, asked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				asked <- n
				return
			default:
			}
			if status, body := get(address, "web.example.org", "/"); status != 200 {
				t.Errorf("request %d is answered %d: %s", n, status, body)
			}
			n++
		}
	}()
	for range 3 {
		if r := checkProgram(t, nil, append(args, "--reuse-port")...); r.status != 0 {
			t.Errorf("it ends with %d: %s%s", r.status, r.out, r.err)
		}
	}
	close(stop)
	if n := <-asked; n == 0 {
		t.Error("nothing was asked meanwhile")
	}
	if r := checkProgram(t, nil, args...); r.status != 1 || !strings.Contains(r.out, "address already in use; free the address or set --admin") {
		t.Errorf("without --reuse-port it ends with %d: %s", r.status, r.out)
	}
	if text, err := os.ReadFile(last); err != nil || string(text) != `{"cut": 3}` {
		t.Errorf("what the last stop has written is %q, %v", text, err)
	}
}

// TestCheckLeavesNothing: neither the state directory nor the file of the access log is there
// behind a check that was not before, and what is there stays as it is. What belongs to another
// user is told.
func TestCheckLeavesNothing(t *testing.T) {
	t.Parallel()
	tree := func(dir string) (all []string) {
		filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { all = append(all, path); return nil })
		return all
	}
	services := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(services, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(dir string, args ...string) ran {
		return checkProgram(t, nil, append([]string{"--no-nomad", "--services=" + services, "--http=" + testnet.Address(t), "--https=" + testnet.Address(t), "--admin=" + testnet.Address(t),
			"--acme-email=a@example.org", "--cert-store=file", "--state-dir=" + filepath.Join(dir, "lib", "serai"), "--access-log=" + filepath.Join(dir, "access.log")}, args...)...)
	}
	for name, prepare := range map[string]func(dir string){
		"nothing is there": func(string) {},
		"all is there": func(dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "lib", "serai", "certificates"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "access.log"), []byte("a line\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := t.TempDir()
		prepare(dir)
		before := tree(dir)
		if r := check(dir); r.status != 0 || strings.Contains(r.out, "belongs to user") {
			t.Errorf("%s: it ends with %d: %s%s", name, r.status, r.out, r.err)
		}
		if after := tree(dir); !slices.Equal(before, after) {
			t.Errorf("%s: there was %v, and is %v", name, before, after)
		}
	}
	// A directory that does not exist cannot get a file.
	dir := t.TempDir()
	if r := check(dir, "--access-log="+filepath.Join(dir, "none", "access.log")); r.status != 2 || !strings.Contains(r.out, "the access log of --access-log: open "+filepath.Join(dir, "none", "access.log")) {
		t.Errorf("it ends with %d: %s", r.status, r.out)
	}
	if os.Geteuid() != 0 {
		return // and cannot give anything to others
	}
	log := filepath.Join(dir, "access.log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(log, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if r := check(dir); r.status != 0 || !strings.Contains(r.out, "--access-log="+log+" belongs to user ") || !strings.Contains(r.out, "runuser -u ") {
		t.Errorf("it ends with %d: %s", r.status, r.out)
	}
}

// TestCheckOfStateDirectory: a state directory in which nothing can be kept is told of, also
// where serai would start all the same.
func TestCheckOfStateDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	services, open := filepath.Join(dir, "services.json"), filepath.Join(dir, "open")
	if err := os.WriteFile(services, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for state, want := range map[string]string{
		services:                     "not a directory",
		filepath.Join(services, "x"): "not a directory",
		open:                         "can be written by others",
		"/proc/serai":                "no such file",
		filepath.Join(dir, "new"):    "",
	} {
		r := checkProgram(t, nil, "--no-nomad", "--services="+services, "--http="+testnet.Address(t), "--admin="+testnet.Address(t), "--state-dir="+state)
		if told := strings.Contains(r.out, "nothing can be kept in --state-dir="+state+": "); r.status != 0 || told != (want != "") || !strings.Contains(r.out, want) {
			t.Errorf("--state-dir=%s: it ends with %d: %s%s", state, r.status, r.out, r.err)
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
			t.Error("it leaves a directory")
		}
	}
}
