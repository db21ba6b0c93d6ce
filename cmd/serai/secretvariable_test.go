package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
	"serai/policy/auth/oidc/oidctest"
)

// usersIn writes users, each name:password, into a variable.
func usersIn(t *testing.T, url, path string, users ...string) {
	t.Helper()
	var text strings.Builder
	for _, u := range users {
		name, password, _ := strings.Cut(u, ":")
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	putVariable(t, url, path, map[string]string{"users": text.String()})
}

func putVariable(t *testing.T, url, path string, items map[string]string) {
	t.Helper()
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if items == nil {
		err = client.DeleteVariable(t.Context(), "", path)
	} else {
		_, err = client.PutVariable(t.Context(), nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: items})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// variableAuth is a config file whose auth has its users in a variable.
func variableAuth(path, more string) string {
	return fmt.Sprintf("auth \"corp\" {\n  basic {\n    users_variable = %q\n%s  }\n}\n", path, more)
}

// TestUsersVariable: users that Nomad keeps are followed; while nobody knows them, nobody gets
// in, and what is wrong is told in words.
func TestUsersVariable(t *testing.T) {
	t.Parallel()
	t.Run("simulator", func(t *testing.T) {
		t.Parallel()
		_, url, stop := nomadtest.Simulator(t)
		testUsersVariable(t, url, stop)
	})
	t.Run("real agent", func(t *testing.T) {
		t.Parallel()
		testUsersVariable(t, nomadtest.Server(t), nil)
	})
}

func testUsersVariable(t *testing.T, url string, stop func()) {
	const path = "serai/auth/corp"
	i := newGuardedInstance(t)
	file := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, file, i.registration("ingress.auth=corp"))
	c := serveConfig(t, url, variableAuth(path, ""), "--services="+file)
	h := webClients(t, c.traffic)["HTTP/1"]
	asks := func(name, password string) got { return request(t, h, "GET", "/", login(name, password)) }
	unknown := func() {
		t.Helper()
		until(t, "nobody gets in", func() bool {
			g := asks("ann", "one")
			return g.status == 503 && g.fields.Get("X-Serai-Reason") == "auth-unavailable"
		})
	}
	warns := func(text string) {
		t.Helper()
		until(t, "a warning of "+text, func() bool {
			_, body := get(c.admin, "localhost", "/ready")
			return strings.Contains(body, text)
		})
	}
	unknown()
	if i.count() != 0 {
		t.Error("a request has reached the instance")
	}
	warns(`nobody gets in`)
	warns(`nomad has no variable \"serai/auth/corp\"`)
	usersIn(t, url, path, "ann:one", "bob:b")
	until(t, "ann to get in", func() bool { return asks("ann", "one").status == 200 })
	if wrong, none := asks("ann", "two"), request(t, h, "GET", "/"); wrong.status != 401 || none.status != 401 {
		t.Errorf("a wrong password is answered %d, none %d", wrong.status, none.status)
	}

	// Another file with the same variable, while requests run: none meets an auth that
	// does not know its users.
	end := c.hammer(authHost, func(status int) bool { return status == 401 })
	c.write(variableAuth(path, "    realm = \"another\"\n"))
	until(t, "the other realm", func() bool {
		return strings.Contains(request(t, h, "GET", "/").fields.Get("WWW-Authenticate"), "another")
	})
	usersIn(t, url, "serai/auth/next", "ann:next")
	c.write(variableAuth("serai/auth/next", ""))
	until(t, "the other variable", func() bool { return asks("ann", "next").status == 200 })
	c.write(variableAuth(path, ""))
	until(t, "the first variable", func() bool { return asks("ann", "one").status == 200 })
	end()

	usersIn(t, url, path, "ann:two")
	until(t, "the new password", func() bool { return asks("ann", "two").status == 200 })
	if old, removed := asks("ann", "one"), asks("bob", "b"); old.status != 401 || removed.status != 401 {
		t.Errorf("the old password is answered %d, who was removed %d", old.status, removed.status)
	}
	putVariable(t, url, path, map[string]string{"users": "ann:plain-s3cret"})
	warns("line 1 has plain text")
	warns("the last good version is in force")
	if g := asks("ann", "two"); g.status != 200 {
		t.Errorf("after a bad content ann is answered %d", g.status)
	}
	putVariable(t, url, path, nil)
	unknown()
	usersIn(t, url, path, "ann:one")
	until(t, "ann to get in again", func() bool { return asks("ann", "one").status == 200 })
	if stop != nil {
		stop()
		warns("nomad agent unreachable")
		if g := asks("ann", "one"); g.status != 200 {
			t.Errorf("while Nomad is away ann is answered %d", g.status)
		}
	}
	_, ready := get(c.admin, "localhost", "/ready")
	if all := c.stderr.String() + ready; strings.Contains(all, "s3cret") || strings.Contains(all, "$2a$") {
		t.Error("the log or /ready has a secret")
	}
}

// TestUsersVariableWithoutTheRight: what Nomad refuses is told with the policy that grants it.
func TestUsersVariableWithoutTheRight(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	sim.SetACL(true)
	sim.PutToken(nomadsim.Token{Secret: "a-token", Rules: []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}})
	i := newGuardedInstance(t)
	file := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, file, i.registration("ingress.auth=corp"))
	traffic, admin := testnet.Address(t), testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url, "NOMAD_TOKEN": "a-token"}, "serve", configOf(t, variableAuth("team/users", "")), "--services="+file,
		"--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	until(t, "the policy", func() bool {
		log := p.stderr.String()
		return strings.Contains(log, "path \"team/users\" {\n      capabilities = [\"read\"]") && strings.Contains(log, "nomad acl policy apply") &&
			strings.Contains(log, `read of the variables \"team/users\"`)
	})
	h := webClients(t, traffic)["HTTP/1"]
	until(t, "the answer", func() bool { return request(t, h, "GET", "/").status == http.StatusServiceUnavailable })
	until(t, "the reason in /ready and /metrics", func() bool {
		_, ready := get(admin, "localhost", "/ready")
		_, metrics := get(admin, "localhost", "/metrics")
		return strings.Contains(ready, "the token lacks a capability for this") &&
			strings.Contains(metrics, `serai_secret_wrong_seconds{item="users",variable="team/users"} `)
	})
	if i.count() != 0 {
		t.Error("a request has reached the instance")
	}
}

// TestVariableBlocks: what is wrong with the words in the file is told with their line.
func TestVariableBlocks(t *testing.T) {
	users := usersFile(t, "ann:a")
	for text, want := range map[string]string{
		"users_variable = \"serai/auth/x y\"":                                "is not the path of a variable",
		"users_variable = \"\"":                                              "users_file or users_variable is missing",
		"users_variable = [\"a\", \"b\"]":                                    "wants one value",
		"users_variabel = \"a\"":                                             `did you mean "users_variable"?`,
		"users_variable = \"a\"\n users_file = " + fmt.Sprintf("%q", users):  "users_variable and users_file are both set",
		"users_variable = \"a\"\n users_file = " + fmt.Sprintf("%q", "/x/y"): "users_variable and users_file are both set",
	} {
		_, err := readText(t, "auth \"corp\" {\n basic {\n "+text+"\n }\n}\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %q", text, err, want)
		}
	}
	var many strings.Builder
	for n := range maxVariables + 1 {
		fmt.Fprintf(&many, "auth \"a%d\" {\n basic {\n users_variable = \"v%d\"\n }\n}\n", n, n)
	}
	if _, err := readText(t, many.String()); err == nil || !strings.Contains(err.Error(), "at most 32 can be watched") {
		t.Error(err)
	}
	config := configOf(t, variableAuth("a", ""))
	var b buffer
	err := run(t.Context(), []string{"serve", "--no-nomad", "--services=/nowhere", "--http=127.0.0.1:0", config}, func(string) string { return "" }, &b, &b)
	if err == nil || !strings.Contains(err.Error(), "--no-nomad: auths of the config file have secrets in Nomad's variables: a") {
		t.Error(err)
	}
}

// TestConfigOfTheJobs: the operator's file among the job files is read.
func TestConfigOfTheJobs(t *testing.T) {
	c, err := readConfig("../../jobs/serai.config.hcl", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.named.variables(); len(got) != 1 || got[0] != "serai/auth/staff" {
		t.Errorf("its variables are %q", got)
	}
}

// TestClientSecretVariable: the secret of a login at a provider is followed; while nobody
// knows it nobody logs in, and who has logged in stays in.
func TestClientSecretVariable(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	const path = "serai/auth/corp"
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	file := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, file, i.registration("ingress.auth=corp"))
	c := serveConfig(t, url, fmt.Sprintf("auth \"corp\" {\n  oidc {\n    issuer = %q\n    client_id = %q\n    client_secret_variable = %q\n    cookie_key_file = %q\n    ca_file = %q\n  }\n}\n",
		p.URL, oidctest.ClientID, path, secretFile(t, "keys", newCookieKey()), secretFile(t, "ca.pem", string(p.CA))), "--services="+file, behindProxy)
	h := webClients(t, c.traffic)["HTTP/1"]
	visit := func() got { return newBrowser(t, p, h).visit("/", "ann") }
	closed := func() bool {
		g := visit()
		return g.status == 503 && g.fields.Get("X-Serai-Reason") == "auth-unavailable"
	}
	until(t, "nobody to log in", closed)
	putVariable(t, url, path, map[string]string{"client_secret": "wrong"})
	until(t, "the wrong secret", func() bool {
		_, ready := get(c.admin, "localhost", "/ready")
		return !strings.Contains(ready, "nomad has no variable")
	})
	if !closed() {
		t.Error("a wrong secret lets ann log in")
	}
	putVariable(t, url, path, map[string]string{"client_secret": oidctest.ClientSecret + "\n"})
	until(t, "ann to log in", func() bool { return visit().status == 200 })
	ann := newBrowser(t, p, h)
	ann.visit("/", "ann")
	putVariable(t, url, path, nil)
	until(t, "nobody to log in again", closed)
	if g := ann.xhr("/"); g.status != 200 {
		t.Errorf("who had logged in is answered %d", g.status)
	}
	if i.count() == 0 {
		t.Error("no request has reached the instance")
	}
}
