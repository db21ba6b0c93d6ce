package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// TestLoginAtAuthelia: the recipe of docs/policies.md with the real program as the OpenID
// provider: login, groups, renewals with its refresh tokens, logout.
func TestLoginAtAuthelia(t *testing.T) {
	t.Parallel()
	a := newAuthelia(t, true)
	i := newGuardedInstance(t)
	config := configOf(t, fmt.Sprintf(`auth "corp" {
  oidc {
    issuer             = "https://%s"
    client_id          = %q
    client_secret_file = %q
    cookie_key_file    = %q
    ca_file            = %q
    scopes             = ["profile", "email", "groups", "offline_access"]
    user_claim         = "preferred_username"
    groups             = ["ops"]
    renew              = "2s"
    logout_redirect    = "https://%s/logout"
  }
}
`, a.address, oidctest.ClientID, secretFile(t, "secret", oidctest.ClientSecret), secretFile(t, "keys", newCookieKey()), a.ca, portalHost))
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, config, behindProxy)
	h := webClients(t, address)["HTTP/1"]
	for user, want := range map[string]int{"ann": 200, "bob": 403} {
		cookie := a.login(t, h, user)
		g := request(t, h, "GET", "/x", overHTTPS, "Cookie: "+cookie, "X-Forwarded-User: root")
		if g.status != want {
			t.Fatalf("%s is answered %d %s", user, g.status, g.body)
		}
		if want != 200 {
			continue
		}
		if seen := i.last(); seen.Get("X-Forwarded-User") != "ann" || seen.Get("X-Forwarded-Email") != "ann@example.org" || seen.Get("X-Forwarded-Groups") != "dev,ops" {
			t.Errorf("the instance is told %v", seen)
		}
		renewals := 0
		until(t, "two renewals", func() bool {
			g := request(t, h, "GET", "/x", overHTTPS, "Cookie: "+cookie)
			if g.status != 200 {
				t.Fatalf("a renewal is answered %d %s", g.status, g.body)
			}
			if next := sessionOf(g.fields); next != "" {
				cookie = next
				renewals++
			}
			return renewals >= 2
		})
		if groups := i.last().Get("X-Forwarded-Groups"); groups != "dev,ops" {
			t.Errorf("after renewals the instance is told the groups %q", groups)
		}
		out := request(t, h, "GET", "/.serai/oidc/corp/logout", overHTTPS, "Cookie: "+cookie, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate")
		if out.status != 302 || out.fields.Get("Location") != "https://"+portalHost+"/logout" {
			t.Errorf("the logout is answered %d to %q", out.status, out.fields.Get("Location"))
		}
		if g := request(t, h, "GET", "/x", overHTTPS, "Cookie: "+cookie); g.status != 401 {
			t.Errorf("after the logout answered %d", g.status)
		}
	}
}

// sessionOf returns the cookie of the session that an answer sets, empty for none.
func sessionOf(fields http.Header) string {
	for _, line := range fields["Set-Cookie"] {
		if cookie, _, _ := strings.Cut(line, ";"); strings.HasPrefix(cookie, "__Host-serai-corp=1.") {
			return cookie
		}
	}
	return ""
}

// login has a user log in as a browser does, and returns the cookie of serai's session.
func (a *authelia) login(t *testing.T, h *http.Client, user string) (cookie string) {
	t.Helper()
	ca, err := os.ReadFile(a.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	own := &http.Client{Transport: transport, Jar: jar, Timeout: long, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	// to asks Authelia, and returns where it sends the browser.
	to := func(target string) *url.URL {
		res, err := own.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		next, err := res.Location()
		if err != nil {
			t.Fatalf("%s is answered %s without a Location: %s", target, res.Status, body)
		}
		return next
	}
	begun := request(t, h, "GET", "/x", overHTTPS, acceptsHTML)
	attempt, _, _ := strings.Cut(begun.fields.Get("Set-Cookie"), ";")
	if begun.status != 302 {
		t.Fatalf("answered %d %s", begun.status, begun.body)
	}
	portal := to(begun.fields.Get("Location"))
	if portal.Host != a.address || portal.Query().Get("flow") != "openid_connect" {
		t.Fatalf("Authelia sends the browser to %s", portal)
	}
	// post asks Authelia as its pages do, and returns where these go on to.
	post := func(path, body string) string {
		res, err := own.Post("https://"+a.address+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var said struct {
			Status string
			Data   struct {
				Redirect string `json:"redirect"`
				URI      string `json:"redirect_uri"`
			}
		}
		if err := json.NewDecoder(res.Body).Decode(&said); err != nil || said.Status != "OK" {
			t.Fatalf("%s: %s, %+v, %v", path, res.Status, said, err)
		}
		return said.Data.Redirect + said.Data.URI
	}
	next := to(post("/api/firstfactor", fmt.Sprintf(`{"username": %q, "password": "pw", "keepMeLoggedIn": false, "flow": "openid_connect", "flowID": %q}`, user, portal.Query().Get("flow_id"))))
	if strings.HasPrefix(next.Path, "/consent/") { // it asks the user about refresh tokens
		next = to(post("/api/oidc/consent", fmt.Sprintf(`{"flow_id": %q, "client_id": %q, "consent": true, "pre_configure": false, "claims": []}`, next.Query().Get("flow_id"), oidctest.ClientID)))
	}
	for range 5 {
		if strings.HasPrefix(next.String(), callbackURL) {
			break
		}
		next = to(next.String())
	}
	if !strings.HasPrefix(next.String(), callbackURL) {
		t.Fatalf("Authelia sends the browser to %s", next)
	}
	g := request(t, h, "GET", next.RequestURI(), overHTTPS, "Cookie: "+attempt)
	if cookie = sessionOf(g.fields); cookie == "" || g.fields.Get("Location") != "https://"+authHost+"/x" {
		t.Fatalf("the callback is answered %d %s with %v", g.status, g.body, g.fields)
	}
	return cookie
}
