package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"serai/internal/testnet"
)

// TestLoginStepByStep: the first steps of docs/policies.md, as somebody types them. Its
// files are written by a shell, and its commands for serai are run in this process.
func TestLoginStepByStep(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("htpasswd"); err != nil {
		t.Skip("no htpasswd: install apache2-utils")
	}
	document, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(document), "### A login in front of one service, step by step\n")
	_, block, _ := strings.Cut(section, "```sh\n")
	steps, _, ok := strings.Cut(block, "```\n")
	if !ok {
		t.Fatal("docs/policies.md has no block of commands there")
	}
	i, traffic, admin, dir := newGuardedInstance(t), testnet.Address(t), testnet.Address(t), t.TempDir()
	steps = strings.NewReplacer("9000", strconv.Itoa(i.port), "127.0.0.1:8080", traffic, "127.0.0.1:8081", admin).Replace(steps)
	var shell, curls []string
	var serve []string
	for line := range strings.Lines(steps) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "serai serve "):
			serve = strings.Fields(strings.TrimSuffix(strings.TrimPrefix(line, "serai "), " &"))
		case strings.HasPrefix(line, "serai hello "), strings.HasPrefix(line, "sleep "), strings.HasPrefix(line, "kill "):
		case strings.HasPrefix(line, "curl "):
			curls = append(curls, line)
		default:
			shell = append(shell, line)
		}
	}
	sh := exec.Command("sh", "-e")
	sh.Dir, sh.Stdin = dir, strings.NewReader(strings.Join(shell, "\n")+"\n")
	if output, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	// The shell stands in dir, and this process elsewhere.
	for n := range serve {
		for _, name := range []string{"services.json", "serai.hcl"} {
			serve[n] = strings.Replace(serve[n], "="+name, "="+filepath.Join(dir, name), 1)
		}
	}
	config := filepath.Join(dir, "serai.hcl")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, config, strings.Replace(string(text), `"users"`, strconv.Quote(filepath.Join(dir, "users")), 1))
	start(t, nil, serve...)
	until(t, "readiness", func() bool { status, _ := get(admin, "localhost", "/ready"); return status == 200 })
	form := regexp.MustCompile(`^curl -si? (?:-H 'Host: ([a-z.]+)' )?(?:-u (\w+):(\w+) )?'?(http://[^ ']+)'? +# (.*)$`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: long}
	if len(curls) != 4 {
		t.Errorf("there are %d requests", len(curls))
	}
	for _, line := range curls {
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not understood: %s", line)
			continue
		}
		r, err := http.NewRequest("GET", m[4], nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = m[1]
		if m[2] != "" {
			r.SetBasicAuth(m[2], m[3])
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want, says := strings.CutPrefix(m[5], "auth: "); says {
			if !strings.Contains(string(body), "auth: "+want) {
				t.Errorf("%s\nanswers\n%s", line, body)
			}
			continue
		}
		if !strings.HasPrefix(m[5], fmt.Sprint(res.StatusCode)) {
			t.Errorf("%s\nis answered %d", line, res.StatusCode)
		}
		if strings.Contains(m[5], "X-Forwarded-User: ann") && i.last().Get("X-Forwarded-User") != "ann" {
			t.Errorf("%s\nthe service is told %v", line, i.last())
		}
	}
}
