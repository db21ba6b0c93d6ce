package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHangingFileIsTold: while a read of the config file, or of a file that it names, does not
// come back, /ready and /metrics say which, and serai stays ready and serves as before.
func TestHangingFileIsTold(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	closed := denies("a") + "namespace \"*\" {\n  policies = [\"a\"]\n}\n"
	for name, hang := range map[string]func(t *testing.T, config, fifo string) (hangs string){
		"config": func(t *testing.T, config, fifo string) string {
			next := config + ".next"
			if err := os.Link(fifo, next); err != nil { // so that who writes finds it where it was
				t.Fatal(err)
			}
			if err := os.Rename(next, config); err != nil {
				t.Fatal(err)
			}
			return config
		},
		"users_file": func(t *testing.T, config, fifo string) string {
			replaceFile(t, config, closed+fmt.Sprintf("auth \"corp\" {\n  basic {\n    users_file = %q\n  }\n}\n", fifo))
			return fifo
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := filepath.Join(dir, "serai.hcl")
			replaceFile(t, config, closed)
			n := bare(t)
			n.run(nil, "--no-nomad", "--services="+servicesFile(t, host), "--config="+config)
			defer n.kill(syscall.SIGTERM)
			status := func() int { status, _ := get(n.http, host, "/"); return status }
			until(t, "the policy", func() bool { return status() == 403 })
			if m := metric(n.admin, "serai_config_hangs_seconds"); m != "serai_config_hangs_seconds 0\n" {
				t.Errorf("before, /metrics says %q", m)
			}
			fifo, read := fifo(t, dir, "fifo")
			hangs := hang(t, config, fifo)
			w := read()
			says := func(has bool) {
				t.Helper()
				until(t, fmt.Sprintf("/ready to say that a read hangs: %v", has), func() bool {
					code, body := get(n.admin, "localhost", "/ready")
					if code != 200 {
						t.Fatalf("/ready answers %d %s", code, body)
					}
					return strings.Contains(body, "a read of "+hangs+" hangs") == has
				})
			}
			says(true)
			if m := metric(n.admin, "serai_config_hangs_seconds"); m == "serai_config_hangs_seconds 0\n" || m == "" {
				t.Errorf("while it hangs, /metrics says %q", m)
			}
			if s := status(); s != 403 {
				t.Errorf("while it hangs, requests are answered %d", s)
			}
			if name != "config" {
				return
			}
			replaceFile(t, config, denies("b")) // which is read once the other read has come back
			w.Close()
			says(false)
			until(t, "the file that came meanwhile", func() bool { return status() == 200 })
		})
	}
}

// TestHangingFileIsReplaced: a FIFO whose writer says nothing, where a file has been, is read no
// more once a file is there again.
func TestHangingFileIsReplaced(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	closed := denies("a") + "namespace \"*\" {\n  policies = [\"a\"]\n}\n"
	for _, name := range []string{"services", "config", "users_file"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			services, config, users := servicesFile(t, host), filepath.Join(dir, "serai.hcl"), filepath.Join(dir, "users")
			replaceFile(t, users, "ann:$apr1$Vq6pu2T9$zrmGFPqiPkYHOA53MKX/p0\n")
			auth := fmt.Sprintf("auth \"corp\" {\n  basic {\n    users_file = %q\n  }\n}\n", users)
			replaceFile(t, config, auth)
			n := bare(t)
			n.run(nil, "--no-nomad", "--services="+services, "--config="+config)
			defer n.kill(syscall.SIGTERM)
			answers := func(want int) {
				t.Helper()
				until(t, fmt.Sprintf("the answer %d", want), func() bool { status, _ := get(n.http, host, "/"); return status == want })
			}
			answers(200)
			path := map[string]string{"services": services, "config": config, "users_file": users}[name]
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fifo, read := fifo(t, dir, "fifo")
			if err := os.Link(fifo, path+".next"); err != nil { // so that who writes finds it where it was
				t.Fatal(err)
			}
			if err := os.Rename(path+".next", path); err != nil {
				t.Fatal(err)
			}
			read() // and nothing is written
			switch name {
			case "services":
				writeServices(t, path, instance(t, "web", "ingress.host="+host, "ingress.access-log=off"), instance(t, "other", "ingress.host=b.example.org"))
				until(t, "the second service", func() bool { status, _ := get(n.http, "b.example.org", "/"); return status == 200 })
			case "config":
				replaceFile(t, path, closed)
				answers(403)
			case "users_file":
				replaceFile(t, path, string(before))
				replaceFile(t, config, auth+closed)
				answers(403)
			}
		})
	}
}
