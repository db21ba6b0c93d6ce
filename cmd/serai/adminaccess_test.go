package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/testdoc"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

const (
	oldToken = "0123456789abcdef-old-token"
	newToken = "0123456789abcdef-new-token"
)

// closed is a serai whose admin asks for a certificate and a token.
type closed struct {
	*testing.T
	n                  *node
	ca, clients, other *issuer
	dir, metrics       string
}

// file is the path of a file of the test.
func (c *closed) file(name string) string { return filepath.Join(c.dir, name) }

func (c *closed) write(name, text string) {
	c.Helper()
	if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

// newClosed starts a serai process.
func newClosed(t *testing.T) *closed {
	c := &closed{T: t, ca: authority(t), clients: authority(t), other: authority(t), dir: t.TempDir(), metrics: testnet.Address(t)}
	c.ca.write(t, c.dir, "admin", "127.0.0.1", "serai.internal.example")
	c.ca.writeRoot(t, c.file("ca.pem"))
	c.clients.writeRoot(t, c.file("clients.pem"))
	c.clients.write(t, c.dir, "operator", "operator")
	c.write("token", "# of the night shift\n"+oldToken+"\n")
	c.write("services.json", "[]")
	c.n = &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	c.n.run(nil, "--no-nomad", "--services="+c.file("services.json"), "--metrics="+c.metrics, "--admin-cert-file="+c.file("admin.crt"), "--admin-key-file="+c.file("admin.key"),
		"--admin-client-ca-file="+c.file("clients.pem"), "--admin-token-file="+c.file("token"))
	t.Cleanup(func() {
		c.n.kill(syscall.SIGTERM)
		if text := c.n.output.String(); strings.Contains(text, "0123456789abcdef") {
			t.Errorf("the log has a token:\n%s", text)
		} else if t.Failed() {
			t.Logf("serai said:\n%s", text)
		}
	})
	until(t, "readiness", func() bool { status, _, err := c.ask(nil, "/ready"); return err == nil && status == 200 })
	return c
}

// client speaks TLS to the admin, with a certificate or without one.
func (c *closed) client(pair *tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.root)
	config := &tls.Config{RootCAs: roots}
	if pair != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil } // whatever the server asks for
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	c.Cleanup(client.CloseIdleConnections)
	return client
}

// ask asks on a connection of its own. Each field is NAME: VALUE; Host and Method are what they say.
func (c *closed) ask(pair *tls.Certificate, path string, fields ...string) (int, string, error) {
	client := c.client(pair)
	defer client.CloseIdleConnections()
	return c.askOver(client, path, fields...)
}

func (c *closed) askOver(client *http.Client, path string, fields ...string) (int, string, error) {
	r, err := http.NewRequest("GET", "https://"+c.n.admin+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	for _, field := range fields {
		switch name, value, _ := strings.Cut(field, ": "); name {
		case "Host":
			r.Host = value
		case "Method":
			r.Method = value
		default:
			r.Header.Add(name, value)
		}
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode == 401 && strings.Join(res.Header["Www-Authenticate"], "; ") != `Bearer realm="serai"; Basic realm="serai", charset="UTF-8"` {
		c.Errorf("%s %v: 401 with %v", path, fields, res.Header)
	}
	return res.StatusCode, string(body), err
}

// TestAdminAccess asks a real serai in all the ways in which somebody may who should not.
func TestAdminAccess(t *testing.T) {
	t.Parallel()
	c := newClosed(t)
	operator, foreign := c.clients.issue(t, "operator"), c.other.issue(t, "operator")
	expired := c.clients.issueUntil(t, time.Now().Add(-time.Minute), "operator")
	const right, wrong = "Authorization: Bearer " + oldToken, "Authorization: Bearer " + newToken
	basic := func(password string) string {
		r, _ := http.NewRequest("GET", "http://x", nil)
		r.SetBasicAuth("anybody", password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for name, x := range map[string]struct {
		pair   *tls.Certificate
		path   string
		fields []string
		want   int // 0: the handshake fails
		says   string
	}{
		"health":                     {nil, "/health", nil, 200, "ok\n"},
		"readiness for all":          {nil, "/ready", nil, 200, "{\n  \"draining\": false,\n  \"ready\": true\n}\n"},
		"readiness":                  {&operator, "/ready", []string{right}, 200, `"sources"`},
		"nothing":                    {nil, "/api/v1/status", nil, 403, "wants a certificate"},
		"no certificate":             {nil, "/api/v1/status", []string{right}, 403, "wants a certificate"},
		"a foreign certificate":      {&foreign, "/api/v1/status", []string{right}, 403, "does not know the client's certificate"},
		"an expired certificate":     {&expired, "/api/v1/status", []string{right}, 403, "or it has expired"},
		"foreign, for health":        {&foreign, "/health", nil, 200, "ok\n"},
		"expired, for readiness":     {&expired, "/ready", []string{right}, 200, "{\n  \"draining\": false,\n  \"ready\": true\n}\n"},
		"foreign, for the dashboard": {&foreign, "/", []string{right}, 403, "does not know the client's certificate"},
		"no token":                   {&operator, "/api/v1/status", nil, 401, "wants a token"},
		"a wrong token":              {&operator, "/api/v1/status", []string{wrong}, 401, "does not know this token"},
		"the beginning of the token": {&operator, "/api/v1/status", []string{right[:len(right)-1]}, 401, "does not know this token"},
		"more than the token":        {&operator, "/api/v1/status", []string{right + "x"}, 401, "does not know this token"},
		"a comment as token":         {&operator, "/api/v1/status", []string{"Authorization: Bearer # of the night shift"}, 401, "does not know"},
		"a token in the query":       {&operator, "/api/v1/status?token=" + oldToken + "&access_token=" + oldToken, nil, 401, "wants a token"},
		"another scheme":             {&operator, "/api/v1/status", []string{"Authorization: Digest " + oldToken}, 401, "wants a token"},
		"two tokens":                 {&operator, "/api/v1/status", []string{right, wrong}, 401, "wants a token"},
		"the token":                  {&operator, "/api/v1/status", []string{right}, 200, `"readiness"`},
		"the scheme in small":        {&operator, "/api/v1/status", []string{"Authorization: bearer " + oldToken}, 200, `"readiness"`},
		"a browser":                  {&operator, "/ui/overview", []string{basic(oldToken)}, 200, "<html"},
		"a browser, wrong":           {&operator, "/ui/overview", []string{basic(newToken)}, 401, "does not know this token"},
		"metrics":                    {&operator, "/metrics", []string{right}, 200, "serai_build_info"},
		"metrics without":            {&operator, "/metrics", nil, 401, ""},
		"profiles":                   {&operator, "/debug/pprof/cmdline", []string{right}, 200, "serve"},
		"profiles without":           {&operator, "/debug/pprof/cmdline", nil, 401, ""},
		"no such page":               {&operator, "/nothing", nil, 401, ""},
		"a name of the certificate":  {&operator, "/routes", []string{right, "Host: serai.internal.example:8081"}, 200, ""},
		"DNS rebinding":              {&operator, "/routes", []string{right, "Host: evil.example.org"}, 403, "does not answer to this name"},
		"DNS rebinding of health":    {nil, "/health", []string{"Host: evil.example.org"}, 403, "does not answer to this name"},
		"another site":               {&operator, "/routes", []string{right, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 403, "other sites"},
		"a POST of another site":     {&operator, "/log-level", []string{right, "Method: POST", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example.org"}, 403, "other sites"},
		"a PUT of another site":      {&operator, "/log-level", []string{right, "Method: PUT", "Origin: https://evil.example.org"}, 403, "cannot be changed by such a request"},
		"a PUT without a token":      {&operator, "/log-level", []string{"Method: PUT"}, 401, "wants a token"},
		"a POST":                     {&operator, "/routes", []string{right, "Method: POST"}, 405, ""},
		"through an ingress":         {&operator, "/routes", []string{right, "X-Serai-Hops: 1"}, 403, "through an ingress"},
	} {
		status, body, err := c.ask(x.pair, x.path, x.fields...)
		if status != x.want || (err != nil) != (x.want == 0) || !strings.Contains(body, x.says) {
			t.Errorf("%s: answered %d, %v, want %d with %q: %.300s", name, status, err, x.want, x.says, body)
		}
		if x.want >= 400 && strings.Contains(body, "0123456789") {
			t.Errorf("%s: the answer has a token: %s", name, body)
		}
	}
	if status, body := get(c.n.admin, "localhost", "/health"); status != 400 || !strings.Contains(body, "HTTPS server") {
		t.Errorf("plain HTTP is answered %d %s", status, body)
	}
	_, body := get(c.metrics, "any.example.org", "/metrics")
	for _, want := range []string{`serai_admin_refused_total{reason="no-certificate"} 2`, `serai_admin_refused_total{reason="wrong-certificate"} 3`, `serai_admin_refused_total{reason="wrong-token"} 5`, `serai_admin_refused_total{reason="no-token"} 8`} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("%s is not among the metrics, which --metrics has without a token", want)
		}
	}
	if status, _ := get(c.metrics, "any.example.org", "/routes"); status != 404 {
		t.Errorf("--metrics answers /routes with %d", status)
	}
}

// TestAdminAccessChanges: what the files say is followed, on connections that are open, too; what
// cannot be used changes nothing.
func TestAdminAccessChanges(t *testing.T) {
	t.Parallel()
	c := newClosed(t)
	operator := c.clients.issue(t, "operator")
	open := c.client(&operator)
	status := func(token string) int {
		status, _, err := c.askOver(open, "/routes", "Authorization: Bearer "+token)
		if err != nil {
			return -1
		}
		return status
	}
	if status(oldToken) != 200 || status(newToken) != 401 {
		t.Fatal("the first token is not the one that is asked for")
	}
	r, _ := http.NewRequest("GET", "https://"+c.n.admin+"/api/v1/events?follow=1", nil)
	r.Header.Set("Authorization", "Bearer "+oldToken)
	stream, err := c.client(&operator).Do(r)
	if err != nil || stream.StatusCode != 200 {
		t.Fatal(err, stream)
	}
	defer stream.Body.Close()

	c.write("token", "short\n")
	until(t, "an error in the log", func() bool { return strings.Contains(c.n.output.String(), "line 1: a token has 16 to 4096 bytes") })
	if status(oldToken) != 200 {
		t.Error("an error in the file took the token away")
	}
	c.write("token", oldToken+"\n"+newToken+"\n")
	until(t, "both tokens", func() bool { return status(newToken) == 200 })
	if status(oldToken) != 200 {
		t.Error("the old token has gone")
	}
	c.write("token", newToken+"\n")
	until(t, "the end of the old token", func() bool { return status(oldToken) == 401 })
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, stream.Body); ended <- err }()
	select {
	case <-ended:
	case <-time.After(long):
		t.Error("who follows with the old token still does")
	}
	if err := os.Remove(c.file("token")); err != nil {
		t.Fatal(err)
	}
	until(t, "an error in the log", func() bool { return strings.Contains(c.n.output.String(), "no such file") })
	if status(newToken) != 200 {
		t.Error("without its file the token has gone")
	}

	// Another CA of clients: the connection of the old one is open.
	c.other.writeRoot(t, c.file("clients.pem"))
	until(t, "the end of the old CA", func() bool { return status(newToken) == 403 })
	other := c.other.issue(t, "operator")
	if got, _, err := c.ask(&other, "/routes", "Authorization: Bearer "+newToken); got != 200 {
		t.Errorf("a client of the new CA is answered %d, %v", got, err)
	}
	// Another certificate of serai's own, of which the key comes later.
	next := authority(t)
	pair := next.issue(t, "127.0.0.1")
	writePair(t, c.dir, "next", pair)
	move := func(kind string) {
		if err := os.Rename(c.file("next."+kind), c.file("admin."+kind)); err != nil {
			t.Fatal(err)
		}
	}
	move("crt")
	until(t, "an error in the log", func() bool { return strings.Contains(c.n.output.String(), "private key does not match") })
	if got, _, err := c.ask(nil, "/health"); got != 200 {
		t.Errorf("with half of a pair health is answered %d, %v", got, err)
	}
	move("key")
	c.ca = next
	until(t, "the new certificate", func() bool { status, _, _ := c.ask(nil, "/health"); return status == 200 })
}

// TestAskingAClosedAdmin: the commands reach it with flags and with variables, and say what is
// missing.
func TestAskingAClosedAdmin(t *testing.T) {
	t.Parallel()
	c := newClosed(t)
	url := "https://" + c.n.admin
	all := map[string]string{
		"admin": url, "admin-ca-file": c.file("ca.pem"), "admin-token-file": c.file("token"),
		"admin-client-cert-file": c.file("operator.crt"), "admin-client-key-file": c.file("operator.key"),
	}
	command := func(env map[string]string, args ...string) (string, error) {
		var out, errs buffer
		err := run(t.Context(), args, func(name string) string { return env[name] }, &out, &errs)
		return out.String(), err
	}
	asked := func(without string, args ...string) (string, error) {
		for name, value := range all {
			if name != without {
				args = append(args, "--"+name+"="+value)
			}
		}
		return command(nil, args...)
	}
	for _, args := range [][]string{{"status"}, {"routes"}, {"instances"}, {"rejections"}, {"events"}, {"explain", "a.example.org"}, {"top", "--once"}, {"certs", "list"}, {"log-level", "debug"}, {"status", "-json"}} {
		// No route takes that host, which is an answer.
		if out, err := asked("", args...); err != nil && !errors.Is(err, errNone) || out == "" {
			t.Errorf("%v says %q, %v", args, out, err)
		}
	}
	env := map[string]string{"SERAI_ADMIN_TOKEN": oldToken}
	for name, value := range all {
		if name != "admin-token-file" {
			env[envName(name)] = value
		}
	}
	if out, err := command(env, "status"); err != nil || !strings.Contains(out, "ready") {
		t.Errorf("with variables: %q, %v", out, err)
	}
	c.write("wrong", newToken)
	for without, want := range map[string]string{
		"admin-ca-file":    "--admin-ca-file names the roots that verify its certificate",
		"admin-token-file": "401 Unauthorized: serai's admin wants a token",
	} {
		for _, args := range [][]string{{"status"}, {"events", "-f"}, {"log-level"}, {"certs", "list"}} {
			if _, err := asked(without, args...); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v without --%s: %v, want %q", args, without, err, want)
			}
		}
	}
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"--admin=" + c.n.admin}, "it speaks TLS: write --admin=https://" + c.n.admin},
		{[]string{"--admin=" + url, "--admin-ca-file=" + c.file("ca.pem")}, "403 Forbidden: serai's admin wants a certificate"},
		{[]string{"--admin=" + strings.Replace(url, "127.0.0.1", "localhost", 1), "--admin-ca-file=" + c.file("ca.pem")}, "--admin-server-name says which name"},
		{[]string{"--admin=https://" + c.metrics}, "it speaks no TLS: write --admin without https://"},
		{[]string{"--admin=" + url, "--admin-client-cert-file=" + c.file("operator.crt")}, "must be set together"},
		{[]string{"--admin=" + url, "--admin-token-file=" + c.file("none")}, "--admin-token-file: open"},
		{[]string{"--admin=" + c.n.admin, "--admin-ca-file=" + c.file("ca.pem"), "--admin-token-file=" + c.file("token")}, "write --admin=https://" + c.n.admin},
		{[]string{"--admin=192.0.2.1:8081", "--admin-token-file=" + c.file("token")}, "would be sent in plain text: write https://192.0.2.1:8081"},
		{[]string{"--admin=serai.example:8081", "--admin-token-file=" + c.file("token")}, "would be sent in plain text"},
		{[]string{"--admin=ftp://x"}, "neither ADDR nor https://ADDR"},
		{[]string{"--admin=" + url + "/ui"}, "neither ADDR nor https://ADDR"},
	} {
		if _, err := command(nil, append([]string{"status"}, x.args...)...); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v: %v, want %q", x.args, err, x.want)
		}
	}
	all["admin"], all["admin-token-file"] = url, c.file("wrong")
	if _, err := asked("", "status"); err == nil || !strings.Contains(err.Error(), "does not know this token") || strings.Contains(err.Error(), newToken) {
		t.Errorf("with a wrong token: %v", err)
	}
	all["admin-token-file"] = c.file("token")
	if _, err := command(nil, "status", "--admin="+strings.Replace(url, "127.0.0.1", "localhost", 1), "--admin-ca-file="+c.file("ca.pem"), "--admin-server-name=serai.internal.example",
		"--admin-token-file="+c.file("token"), "--admin-client-cert-file="+c.file("operator.crt"), "--admin-client-key-file="+c.file("operator.key")); err != nil {
		t.Errorf("with the name of the certificate: %v", err)
	}
}

// TestAdminTokenVariable: the token is what a Nomad variable says, and nobody is let in before
// that is known, nor when it has gone.
func TestAdminTokenVariable(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	at := testnet.Address(t)
	start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+testnet.Address(t), "--admin="+at, "--drain-delay=0s", "--admin-token-variable=serai/admin")
	status := func(token string) int {
		r, _ := http.NewRequest("GET", "http://"+at+"/routes", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Close = true
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	until(t, "the admin", func() bool { s, _ := get(at, "localhost", "/health"); return s == 200 })
	// The token may be the right one: a client that follows asks again.
	if s := status(oldToken); s != 503 {
		t.Errorf("without the variable it is answered %d", s)
	}
	if s := status(""); s != 401 {
		t.Errorf("without a token, either, it is answered %d", s)
	}
	put := func(token string) {
		v := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: "serai/admin"}, Items: map[string]string{"admin_token": token}}
		if _, err := client.PutVariable(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	put(oldToken)
	until(t, "the token", func() bool { return status(oldToken) == 200 })
	put(newToken)
	until(t, "the next one", func() bool { return status(newToken) == 200 })
	if s := status(oldToken); s != 401 {
		t.Errorf("the old token is answered %d", s)
	}
	if err := client.DeleteVariable(t.Context(), "", "serai/admin"); err != nil {
		t.Fatal(err)
	}
	until(t, "its end", func() bool { return status(newToken) == 503 })
}

// TestWarnOpen: a listener beyond the loopback without protection is told of.
func TestWarnOpen(t *testing.T) {
	for _, c := range []struct {
		address string
		access  *adminAccess
		want    string
	}{
		{"127.0.0.1:8081", &adminAccess{flags: &adminFlags{}}, ""},
		{"[::1]:8081", &adminAccess{flags: &adminFlags{}}, ""},
		{"127.0.0.1:8081", &adminAccess{flags: &adminFlags{}, tokens: &admin.Tokens{}}, ""},
		{"0.0.0.0:8081", &adminAccess{flags: &adminFlags{}}, "without a token or client certificate"},
		{"[::]:8081", &adminAccess{flags: &adminFlags{Cert: "a"}}, "without a token or client certificate"},
		{"192.0.2.1:8081", &adminAccess{flags: &adminFlags{}, tokens: &admin.Tokens{}}, "in plain text"},
		{"192.0.2.1:8081", &adminAccess{flags: &adminFlags{Cert: "a"}, tokens: &admin.Tokens{}}, ""},
		{"192.0.2.1:8081", &adminAccess{flags: &adminFlags{Cert: "a", ClientCA: "b"}}, ""},
	} {
		at, err := net.ResolveTCPAddr("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		var out buffer
		c.access.warnOpen(at, slog.New(slog.NewTextHandler(&out, nil)))
		if got := out.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("at %s: %q, want %q", c.address, got, c.want)
		}
	}
}

// TestAdminCrowd: a thousand connections that say nothing, begin a head or read nothing keep
// nobody from being answered, and the oldest of them make room.
func TestAdminCrowd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "services.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	n.runLimited(256, "--no-nomad", "--services="+filepath.Join(dir, "services.json"))
	defer n.kill(syscall.SIGTERM)
	until(t, "readiness", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	for i := range 1000 {
		conn, err := net.Dial("tcp", n.admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, []string{"", "GET /rou", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"}[i%4])
		if i%100 == 99 {
			if status, body := get(n.admin, "localhost", "/ready"); status != 200 {
				t.Fatalf("beside %d connections it is answered %d: %s", i+1, status, body)
			}
		}
	}
	var recalled int
	until(t, "a counter of those that made room", func() bool {
		line := metric(n.admin, "serai_admin_connections_recalled_total ")
		json.Unmarshal([]byte(strings.TrimSpace(strings.TrimPrefix(line, "serai_admin_connections_recalled_total "))), &recalled)
		return recalled >= 900
	})
}

// TestAdminOddRequests: HTTP/1.0 without a Host is answered, and a huge head refused.
func TestAdminOddRequests(t *testing.T) {
	t.Parallel()
	at := testnet.Address(t)
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")}, "--admin="+at)
	until(t, "the admin", func() bool { s, _ := get(at, "localhost", "/health"); return s == 200 })
	for request, want := range map[string]string{
		"GET /health HTTP/1.0\r\n\r\n": "HTTP/1.0 200 OK",
		"GET /health HTTP/1.1\r\n\r\n": "HTTP/1.1 400 Bad Request: missing required Host header",
		"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n": "HTTP/1.1 431 Request Header Fields Too Large",
	} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(long))
		go io.WriteString(c, request)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || strings.TrimSpace(line) != want {
			t.Errorf("%.60q is answered %q, %v", request, line, err)
		}
		c.Close()
	}
}

// TestAsideWrite: who reads nothing loses the connection, who reads slowly keeps it.
func TestAsideWrite(t *testing.T) {
	for name, reads := range map[string]bool{"nothing": false, "slowly": true} {
		here, there := net.Pipe()
		if reads {
			go func() {
				for buf := make([]byte, asideWrite/4); ; time.Sleep(time.Millisecond) {
					if _, err := there.Read(buf); err != nil {
						return
					}
				}
			}()
		}
		idle := 50 * time.Millisecond
		if reads {
			idle = long
		}
		a := &aside{Conn: here, crowd: newCrowd(nil, 1, idle, nil)}
		n, err := a.Write(make([]byte, 10*asideWrite+1))
		if reads && (n != 10*asideWrite+1 || err != nil) || !reads && (n != 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			t.Errorf("%s: wrote %d, %v", name, n, err)
		}
		here.Close()
		there.Close()
	}
}

// TestPrometheusScrapesAClosedAdmin: a real Prometheus with the configuration that the document
// has reads the admin with a token over TLS.
func TestPrometheusScrapesAClosedAdmin(t *testing.T) {
	t.Parallel()
	prometheus := tool(t, "prometheus")
	dir, at, own := t.TempDir(), testnet.Address(t), testnet.Address(t)
	ca := authority(t)
	ca.write(t, dir, "admin", "127.0.0.1")
	ca.writeRoot(t, filepath.Join(dir, "ca.pem"))
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(oldToken), 0o600); err != nil {
		t.Fatal(err)
	}
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")}, "--admin="+at,
		"--admin-cert-file="+filepath.Join(dir, "admin.crt"), "--admin-key-file="+filepath.Join(dir, "admin.key"), "--admin-token-file="+filepath.Join(dir, "token"))
	text := testdoc.Section(t, observability+"README.md", "scrape")
	_, text, _ = strings.Cut(text, "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	for old, now := range map[string]string{"/etc/prometheus/serai.token": filepath.Join(dir, "token"), "/etc/prometheus/serai-ca.pem": filepath.Join(dir, "ca.pem"), "192.0.2.10:8081": at} {
		if !strings.Contains(text, old) {
			t.Fatalf("the document has no %s: %s", old, text)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global:\n  scrape_interval: 1s\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, func() bool { status, _ := get(own, "localhost", "/-/ready"); return status == 200 }, prometheus, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+own)
	until(t, "the target to be up", func() bool {
		_, body := get(own, "localhost", "/api/v1/query?query=up%7Bjob%3D%22serai%22%7D")
		return strings.Contains(body, `,"1"]`)
	})
}
