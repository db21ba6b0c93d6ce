package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"serai/internal/testnet"
	"serai/nomad"
)

// oauth2Proxy runs the real oauth2-proxy, whose only user is ann with the password pw, and
// which sends others to a provider if provider is set, until stop is called.
func oauth2Proxy(t *testing.T, provider bool) (address string, stop func()) {
	t.Helper()
	binary := os.Getenv("OAUTH2_PROXY_BIN")
	if binary == "" {
		t.Skip("no oauth2-proxy: put the path of one into OAUTH2_PROXY_BIN (go install github.com/oauth2-proxy/oauth2-proxy/v7@latest)")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address = testnet.Address(t)
	cmd := exec.Command(binary, "--http-address="+address, "--reverse-proxy=true", "--upstream=static://202", "--set-xauthrequest=true",
		"--provider=github", "--client-id=x", "--client-secret=y", "--cookie-secret=0123456789abcdef0123456789abcdef", "--cookie-secure=false",
		"--email-domain=*", "--htpasswd-file="+users, fmt.Sprintf("--skip-provider-button=%v", provider))
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
	for _, asked := range []string{"url", "service"} {
		for _, provider := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, provider %v", asked, provider), func(t *testing.T) {
				t.Parallel()
				testOAuth2Proxy(t, asked, provider)
			})
		}
	}
}

func testOAuth2Proxy(t *testing.T, asked string, provider bool) {
	proxy, stop := oauth2Proxy(t, provider)
	i := newGuardedInstance(t)
	at := netip.MustParseAddrPort(proxy)
	own := nomad.Registration{ID: "o2p", ServiceName: "oauth2-proxy", Address: at.Addr().String(), Port: int(at.Port()),
		Tags: []string{"ingress.host=" + authHost, "ingress.path=/oauth2"}}
	whom := fmt.Sprintf("url = %q", "http://"+proxy+"/")
	if asked == "service" {
		whom = `service = "oauth2-proxy"`
	}
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso"), own},
		configOf(t, "auth \"sso\" {\n  forward {\n    "+whom+"\n    copy = [\"X-Auth-Request-User\", \"X-Auth-Request-Email\", \"X-Auth-Request-Groups\"]\n  }\n}\n"))
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
