package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

// TestPolicyFlagsOfTheFile: what bounds the config file and what it refers to is set on the
// command line, or in the file itself, and holds for its first reading.
func TestPolicyFlagsOfTheFile(t *testing.T) {
	users := usersFile(t, "ann:a")
	networks := "policy \"a\" {\n  allow = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n}\n"
	basic := fmt.Sprintf("auth \"a\" {\n  basic {\n    users_file = %q\n  }\n}\n", users)
	variables := "auth \"a\" {\n  basic {\n    users_variable = \"v\"\n  }\n}\nauth \"b\" {\n  basic {\n    users_variable = \"w\"\n  }\n}\n"
	long := "# " + strings.Repeat("x", 200) + "\n"
	for _, c := range []struct{ text, flag, want string }{
		{networks, "--max-networks=2", "more than 2"},
		{"max_networks = 2\n" + networks, "", "serai.hcl:3,"},
		{basic, "--max-config-file-bytes=9", "has more than 9 bytes"},
		{"max_config_file_bytes = 9\n" + basic, "", "serai.hcl:4,"},
		{variables, "--max-secret-variables=1", "at most 1 can be watched"},
		{"max_secret_variables = 1\n" + variables, "", "serai.hcl:7,"},
		{long, "--max-config-bytes=100", "has more than 100 bytes"},
		{"max_config_bytes = 100\n", "", "is not a flag"},
		{"oidc_rate = 0\n", "", "oidc_rate in"},
		{"", "--password-wait=0s", "--password-wait wants more than 0"},
		{"", "--max-password-bytes=1", "--max-password-bytes=1 is not at least 2"},
	} {
		var b buffer
		args := []string{"serve", configOf(t, c.text), "--services=/nowhere", "--http=127.0.0.1:1", "--admin="}
		if c.flag != "" {
			args = append(args, c.flag)
		}
		err := run(t.Context(), args, func(string) string { return "" }, &b, &b)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s\n%v\nwant %q", c.flag, c.text, err, c.want)
		}
	}
	for _, c := range []struct {
		text string
		read func(f *configFile) bool
	}{
		{"max_networks = 3\n" + networks, func(f *configFile) bool { return len(f.named.policies) == 1 }},
		{"max_config_file_bytes = 1000\n" + basic, func(f *configFile) bool { return len(f.named.auths) == 1 }},
		{"max_secret_variables = 2\n" + variables, func(f *configFile) bool { return len(f.named.variables()) == 2 }},
	} {
		var all commands
		var b buffer
		if _, err := parse(t.Context(), &all, []string{"serve", configOf(t, c.text)}, func(string) string { return "" }, &b, &b); err != nil || !c.read(&all.Serve.file) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

// TestPolicyFlagsWhileItRuns: limits of requests hold over both engines, and what is beyond is
// counted; also of a config file that has been read again.
func TestPolicyFlagsWhileItRuns(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	_, url, _ := nomadtest.Simulator(t)
	file := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, file, i.registration("ingress.rewrite=^/r/(.*)$ /$1", "ingress.request-set=X-Path: {path}",
		"ingress.in.host="+authHost, "ingress.in.path=/in", "ingress.in.auth=corp"))
	users := usersFile(t, "ann:a")
	config := func(realm string) string {
		return fmt.Sprintf("max_password_bytes = 40\npassword_cache = 1\nauth \"corp\" {\n  basic {\n    users_file = %q\n    realm = %q\n  }\n}\n", users, realm)
	}
	c := serveConfig(t, url, config("a"), "--services="+file, "--max-rewrite-bytes=50", "--max-made-bytes=30")
	counted := func(name string, want int) {
		t.Helper()
		until(t, fmt.Sprintf("%s to be %d", name, want), func() bool { return metric(c.admin, name) == fmt.Sprintf("%s %d\n", name, want) })
	}
	clients := webClients(t, c.traffic)
	until(t, "the route", func() bool { return request(t, clients["HTTP/1"], "GET", "/").status == 200 })
	check := func() {
		for name, h := range clients {
			for path, want := range map[string]int{"/r/" + strings.Repeat("x", 40): 200, "/r/" + strings.Repeat("x", 50): 400} {
				if a := request(t, h, "GET", path); a.status != want {
					t.Errorf("%s, a path of %d bytes: %d", name, len(path), a.status)
				}
			}
			if request(t, h, "GET", "/"+strings.Repeat("y", 29)); i.last().Get("X-Path") == "" {
				t.Errorf("%s: a value that is short enough is left out", name)
			}
			if request(t, h, "GET", "/"+strings.Repeat("y", 30)); i.last()["X-Path"] != nil {
				t.Errorf("%s: a value that is too long is sent", name)
			}
			for password, want := range map[string]int{"a": 200, strings.Repeat("b", 30): 401, strings.Repeat("b", 60): 401} {
				if a := request(t, h, "GET", "/in", login("ann", password)); a.status != want {
					t.Errorf("%s, a password of %d bytes: %d", name, len(password), a.status)
				}
			}
		}
	}
	check()
	counted(`serai_answers_total{reason="bad-rewrite"}`, 2)
	counted("serai_made_fields_omitted_total", 4) // of a path that is rewritten, too
	counted(`serai_auth_passwords_refused_total{limit="length"}`, 2)
	counted(`serai_auth_passwords_computed_total{result="right"}`, 1)
	counted(`serai_auth_passwords_computed_total{result="wrong"}`, 2)
	counted("serai_auth_passwords_known_limit", 1)
	c.write(config("b"))
	until(t, "the other realm", func() bool {
		return strings.Contains(request(t, clients["HTTP/1"], "GET", "/in").fields.Get("WWW-Authenticate"), `"b"`)
	})
	check()
	counted(`serai_auth_passwords_refused_total{limit="length"}`, 4)
	if status, _ := get(c.admin, "localhost", "/ready"); status != http.StatusOK {
		t.Error(status)
	}
}

// TestAuthMetrics: what forward auths, providers and waiting requests are counted as.
func TestAuthMetrics(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	url, _ := sso(t)
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, url, ""), "--admin="+admin, "--max-auth-answer-bytes=2000")
	for name, h := range webClients(t, address) {
		if a := request(t, h, "GET", "/"); a.status == 200 {
			t.Errorf("%s: a stranger is let in", name)
		}
	}
	has := func(line string) {
		t.Helper()
		until(t, line, func() bool { _, body := get(admin, "localhost", "/metrics"); return strings.Contains(body, line+"\n") })
	}
	has(`serai_auth_questions_total{auth="sso",result="denied"} 2`)
	has(`serai_auth_questions_total{auth="sso",result="too-long"} 0`)
	has(`serai_auth_waiting{auth="sso"} 0`)
	has(`serai_auth_waiting_limit{auth="sso"} 128`)
	has(`serai_oidc_answers_too_long_total 0`)
}

// TestConfigBytesOfAReload: a config file that has become too long is an error like another.
func TestConfigBytesOfAReload(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	c := serveConfig(t, url, denies("a"), "--max-config-bytes=200")
	c.write(denies("b") + "# " + strings.Repeat("x", 200))
	c.counts("refused", 1)
	c.write(denies("b"))
	c.counts("applied", 1)
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	c.counts("refused", 2)
}
