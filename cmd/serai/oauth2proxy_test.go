package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// oauth2Proxy runs the real oauth2-proxy with more settings, until stop is called.
func oauth2Proxy(t *testing.T, binary string, settings ...string) (address string, stop func()) {
	t.Helper()
	address = testnet.Address(t)
	cmd := exec.Command(binary, append([]string{"--http-address=" + address, "--reverse-proxy=true", "--upstream=static://202", "--set-xauthrequest=true",
		"--cookie-secret=0123456789abcdef0123456789abcdef", "--email-domain=*"}, settings...)...)
	var output buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("oauth2-proxy said:\n%s", output.String())
		}
	})
	until(t, "oauth2-proxy", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address, stop
}

// TestOAuth2Proxy: the recipe of docs/policies.md with the real program, asked at a URL and as a
// service of the table, whose own route lets all sign in.
func TestOAuth2Proxy(t *testing.T) {
	t.Parallel()
	binary := goProgram(t, "oauth2-proxy") // once: it takes a minute to build
	t.Run("login", func(t *testing.T) {
		t.Parallel()
		testLoginsByOAuth2Proxy(t, binary)
	})
	for _, asked := range []string{"url", "service"} {
		for _, provider := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, provider %v", asked, provider), func(t *testing.T) {
				t.Parallel()
				testOAuth2Proxy(t, binary, asked, provider)
			})
		}
	}
}

// behindOAuth2Proxy is the recipe of docs/policies.md: the instance, oauth2-proxy's own paths on
// its host, and the auth that asks it.
func behindOAuth2Proxy(t *testing.T, i *guardedInstance, proxy, asked string) (regs []nomad.Registration, config string) {
	t.Helper()
	at := netip.MustParseAddrPort(proxy)
	own := nomad.Registration{ID: "o2p", ServiceName: "oauth2-proxy", Address: at.Addr().String(), Port: int(at.Port()),
		Tags: []string{"ingress.host=" + authHost, "ingress.path=/oauth2"}}
	whom := fmt.Sprintf("url = %q", "http://"+proxy+"/")
	if asked == "service" {
		whom = `service = "oauth2-proxy"`
	}
	return []nomad.Registration{i.registration("ingress.auth=sso"), own},
		configOf(t, "auth \"sso\" {\n  forward {\n    "+whom+"\n    copy = [\"X-Auth-Request-User\", \"X-Auth-Request-Email\", \"X-Auth-Request-Groups\"]\n  }\n}\n")
}

func testOAuth2Proxy(t *testing.T, binary, asked string, provider bool) {
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	proxy, stop := oauth2Proxy(t, binary, "--provider=github", "--client-id=x", "--client-secret=y", "--cookie-secure=false",
		"--htpasswd-file="+secretFile(t, "users", "ann:"+string(hash)+"\n"), fmt.Sprintf("--skip-provider-button=%v", provider))
	i := newGuardedInstance(t)
	regs, config := behindOAuth2Proxy(t, i, proxy, asked)
	_, address := serveStatic(t, regs, config)
	h := webClients(t, address)["HTTP/1"]
	if provider {
		g := request(t, h, "GET", "/x?y=z")
		to, err := url.Parse(g.fields.Get("Location"))
		if err != nil || g.status != 302 || to.Host != "github.com" || !strings.HasSuffix(to.Query().Get("state"), url.QueryEscape("/x?y=z")) {
			t.Errorf("who is not known is answered %d, and sent to %s", g.status, g.fields.Get("Location"))
		}
		if back := to.Query().Get("redirect_uri"); back != "http://"+authHost+"/oauth2/callback" {
			t.Errorf("the provider sends back to %q", back)
		}
		if len(g.fields["Set-Cookie"]) == 0 {
			t.Error("the cookie against forgery does not arrive")
		}
		return
	}
	if g := request(t, h, "GET", "/x", "X-Auth-Request-User: root"); g.status != 403 || !strings.Contains(g.body, "/oauth2/sign_in") || g.fields.Get("X-Serai-Reason") != "auth-denied" {
		t.Errorf("who is not known is answered %d with %v", g.status, g.fields)
	}
	r, err := http.NewRequest("POST", "http://"+authHost+"/oauth2/sign_in", strings.NewReader("username=ann&password=pw&rd=%2Fx"))
	if err != nil {
		t.Fatal(err)
	}
	signed := do(t, h, r, "Content-Type: application/x-www-form-urlencoded")
	if signed.status != 302 || signed.fields.Get("Location") != "/x" || len(signed.fields["Set-Cookie"]) == 0 {
		t.Fatalf("signing in is answered %d with %v", signed.status, signed.fields)
	}
	cookie, _, _ := strings.Cut(signed.fields.Get("Set-Cookie"), ";")
	if g := request(t, h, "GET", "/x", "Cookie: "+cookie, "X-Auth-Request-User: root", "X_Auth_Request_User: root"); g.status != 200 {
		t.Fatalf("who has signed in is answered %d with %v", g.status, g.fields)
	}
	if got := i.last(); strings.Join(got["X-Auth-Request-User"], "|") != "ann" || got["X_auth_request_user"] != nil {
		t.Errorf("the instance is told %v", got)
	}
	name, value, _ := strings.Cut(cookie, "=")
	if g := request(t, h, "GET", "/x", "Cookie: "+name+"=A"+value); g.status != 403 {
		t.Errorf("a forged cookie is answered %d", g.status)
	}
	reached := i.count()
	stop()
	if g := request(t, h, "GET", "/x", "Cookie: "+cookie); g.status != 503 || g.fields.Get("X-Serai-Reason") != "auth-unavailable" || i.count() != reached {
		t.Errorf("without oauth2-proxy answered %d with %v", g.status, g.fields)
	}
}

// testLoginsByOAuth2Proxy: the same with an OpenID provider. A browser logs in there, comes back
// to the page that it wanted, and the instance is told who it is, over both engines.
func testLoginsByOAuth2Proxy(t *testing.T, binary string) {
	p := oidctest.New(t, "https://"+authHost+"/oauth2/callback")
	proxy, _ := oauth2Proxy(t, binary, "--provider=oidc", "--oidc-issuer-url="+p.URL, "--provider-ca-file="+secretFile(t, "ca.pem", string(p.CA)),
		"--client-id="+oidctest.ClientID, "--client-secret="+oidctest.ClientSecret, "--redirect-url=https://"+authHost+"/oauth2/callback",
		"--code-challenge-method=S256", "--scope=openid profile email", "--skip-provider-button=true", "--skip-auth-route=^/public/")
	for _, asked := range []string{"url", "service"} {
		i := newGuardedInstance(t)
		regs, config := behindOAuth2Proxy(t, i, proxy, asked)
		_, address := serveStatic(t, regs, config, behindProxy)
		for engine, h := range webClients(t, address) {
			t.Run(asked+", "+engine, func(t *testing.T) { testLoginByOAuth2Proxy(t, i, p, h) })
		}
	}
}

func testLoginByOAuth2Proxy(t *testing.T, i *guardedInstance, p *oidctest.Provider, h *http.Client) {
	// No stranger gets in, whatever it says of the request that oauth2-proxy judges.
	before := i.count()
	for _, fields := range [][]string{
		nil, {"Cookie: _oauth2_proxy=forged"}, {"X-Auth-Request-User: root", "X-Auth-Request-Email: root@example.org"}, {"X-Forwarded-Uri: /public/x"}, {"X_Forwarded_Uri: /public/x"},
		{"X-Original-Url: /public/x", "X-Original-Uri: /public/x", "X-Auth-Request-Redirect: /public/x"}, {"X-Forwarded-Method: OPTIONS"}, {"X-Forwarded-Host: evil.example"},
	} {
		g := request(t, h, "GET", "/x?y=z", append(fields, overHTTPS, acceptsHTML)...)
		to, err := url.Parse(g.fields.Get("Location"))
		if err != nil || g.status != 302 || !strings.HasPrefix(to.String(), p.URL+"/authorize?") || to.Query().Get("redirect_uri") != "https://"+authHost+"/oauth2/callback" || g.fields.Get("X-Serai-Reason") != "auth-denied" {
			t.Errorf("%q: answered %d to %q", fields, g.status, g.fields.Get("Location"))
		}
	}
	if n := i.count() - before; n != 0 {
		t.Fatalf("%d strangers have reached the instance", n)
	}
	if g := request(t, h, "GET", "/public/x", overHTTPS, "X-Auth-Request-User: root"); g.status != 200 || i.last()["X-Auth-Request-User"] != nil {
		t.Errorf("what oauth2-proxy lets everybody see is answered %d; the instance is told %v", g.status, i.last())
	}
	b := newBrowser(t, p, h)
	b.fields = http.Header{"X-Auth-Request-User": {"root"}, "x_auth_request_groups": {"admins"}}
	a := b.visit("/deep/link?a=b&c=%2F", "ann")
	if a.status != 200 || b.at() != "https://"+authHost+"/deep/link?a=b&c=%2F" {
		t.Fatalf("at %s: answered %d %s; visited %q", b.at(), a.status, a.body, b.visited)
	}
	seen := i.last()
	for field, want := range map[string]string{"X-Auth-Request-User": "id-ann", "X-Auth-Request-Email": "ann@example.org", "X-Auth-Request-Groups": "dev,ops"} {
		if !slices.Equal(seen[field], []string{want}) {
			t.Errorf("the instance is told %s: %q, want %q", field, seen[field], want)
		}
	}
	for name := range seen {
		if strings.Contains(name, "_") {
			t.Errorf("the instance gets the client's %s", name)
		}
	}
	thief := b.copy(h)
	if a := thief.xhr("/"); a.status != 200 {
		t.Errorf("a copy of the cookie is answered %d", a.status)
	}
	if a := b.follow("GET", "https://"+authHost+"/oauth2/sign_out?rd=https%3A%2F%2Fevil.example%2F", nil); strings.Contains(b.at(), "evil.example") {
		t.Errorf("the logout ends at %s with %d", b.at(), a.status)
	}
	if a := b.xhr("/"); a.status != 302 && a.status != 401 && a.status != 403 {
		t.Errorf("after the logout answered %d", a.status)
	}
}
