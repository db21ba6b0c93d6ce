package main

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// behindProxy is a flag that makes the tests' clients a trusted proxy, which says that
// browsers speak https.
const behindProxy = "--trusted-proxies=127.0.0.0/8"

// callbackURL is what the provider is told of the guarded host.
const callbackURL = "https://" + authHost + "/.serai/oidc/corp/callback"

// secretFile writes a file with a secret, and returns its path.
func secretFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newCookieKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

// loginBlock is an auth block for a provider, with more attributes.
func loginBlock(t *testing.T, name string, p *oidctest.Provider, keys string, more string) string {
	t.Helper()
	return fmt.Sprintf("auth %q {\n  oidc {\n    issuer = %q\n    client_id = %q\n    client_secret_file = %q\n    cookie_key_file = %q\n    ca_file = %q\n%s\n  }\n}\n",
		name, p.URL, oidctest.ClientID, secretFile(t, "secret", oidctest.ClientSecret+"\n"), keys, secretFile(t, "ca.pem", string(p.CA)), more)
}

func loginConfig(t *testing.T, p *oidctest.Provider, more string) string {
	t.Helper()
	keys := secretFile(t, "keys", newCookieKey())
	// What was written just before the start is read anew, and the login made anew with it.
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(keys, old, old); err != nil {
		t.Fatal(err)
	}
	return configOf(t, loginBlock(t, "corp", p, keys, more))
}

// serveLogins runs serai with a guarded instance, its provider, and a client for it.
func serveLogins(t *testing.T) (*guardedInstance, *oidctest.Provider, *http.Client) {
	t.Helper()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	return i, p, webClients(t, address)["HTTP/1"]
}

// browser is a client with cookies that follows redirects. Whatever is not the provider's
// is serai's, over https as a proxy in front says.
type browser struct {
	t    *testing.T
	jar  *cookiejar.Jar
	p    *oidctest.Provider
	to   *http.Client // serai
	http *http.Client // the provider
	// visited are the URLs since the last visit.
	visited []string
	// fields are sent to serai beside those of a navigation.
	fields http.Header
	scheme string
}

func newBrowser(t *testing.T, p *oidctest.Provider, to *http.Client) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Roots()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, jar: jar, p: p, to: to, http: &http.Client{Transport: transport, Timeout: long}, fields: make(http.Header), scheme: "https"}
}

// send sends one request with the browser's cookies.
func (b *browser) send(r *http.Request) got {
	b.t.Helper()
	u := *r.URL
	for _, c := range b.jar.Cookies(&u) {
		r.AddCookie(c)
	}
	client := b.http
	if !strings.HasPrefix(u.String(), b.p.URL) {
		client = b.to
		r.URL.Scheme = "http"
		if u.Scheme == "https" {
			r.Header.Set("X-Forwarded-Proto", "https")
		}
	}
	a := do(b.t, client, r)
	res := http.Response{Header: a.fields}
	b.jar.SetCookies(&u, res.Cookies())
	b.visited = append(b.visited, u.String())
	return a
}

// navigation is a request as a browser makes it for a page.
func (b *browser) navigation(method, to string, body url.Values) *http.Request {
	b.t.Helper()
	var content io.Reader
	if body != nil {
		content = strings.NewReader(body.Encode())
	}
	r, err := http.NewRequest(method, to, content)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = b.fields.Clone()
	for name, value := range map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none", "Accept": "text/html,*/*;q=0.8"} {
		if r.Header[name] == nil {
			r.Header.Set(name, value)
		}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// follow navigates until an answer is no redirect.
func (b *browser) follow(method, to string, body url.Values) got {
	b.t.Helper()
	for range 20 {
		a := b.send(b.navigation(method, to, body))
		location := a.fields.Get("Location")
		if a.status < 300 || a.status > 399 || location == "" {
			return a
		}
		base, _ := url.Parse(to)
		next, err := base.Parse(location)
		if err != nil {
			b.t.Fatal(err)
		}
		method, to, body = "GET", next.String(), nil
	}
	b.t.Fatalf("there is no end of redirects: %q", b.visited)
	return got{}
}

var formID = regexp.MustCompile(`name="id" type="hidden" value="([^"]*)"`)

// visit opens a page of the guarded host, and logs in where it comes to the provider's
// form; with no user it stays there.
func (b *browser) visit(path, user string) got {
	b.t.Helper()
	b.visited = nil
	a := b.follow("GET", b.scheme+"://"+authHost+path, nil)
	id := formID.FindStringSubmatch(a.body)
	if id == nil || user == "" {
		return a
	}
	return b.follow("POST", b.p.URL+"/login/username", url.Values{"id": {id[1]}, "username": {user}, "password": {oidctest.Password}})
}

// at is where the browser is.
func (b *browser) at() string { return b.visited[len(b.visited)-1] }

// cookies returns the browser's cookies for the guarded host.
func (b *browser) cookies() (all []*http.Cookie) {
	return b.jar.Cookies(&url.URL{Scheme: b.scheme, Host: authHost, Path: "/"})
}

// cookie returns a cookie's value.
func (b *browser) cookie(name string) string {
	for _, c := range b.cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// TestLogin: a browser without a session is sent to the provider, comes back to the page it
// wanted, and the instance is told who it is, which nobody else can say.
func TestLogin(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t, p, h)
			b.fields = http.Header{"X-Forwarded-User": {"root"}, "x_forwarded_groups": {"admins"}, "X-Forwarded-Email": {"root@example.org"}}
			a := b.visit("/deep/link?a=b&c=%2F", "ann")
			if a.status != 200 || a.body != "for id-ann" || b.at() != "https://"+authHost+"/deep/link?a=b&c=%2F" {
				t.Fatalf("at %s: answered %d %q with %v; visited %q", b.at(), a.status, a.body, a.fields, b.visited)
			}
			seen := i.last()
			for field, want := range map[string]string{"X-Forwarded-User": "id-ann", "X-Forwarded-Email": "ann@example.org", "X-Forwarded-Groups": "dev,ops"} {
				for name, values := range seen {
					if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), field) && !slices.Equal(values, []string{want}) {
						t.Errorf("the instance is told %s: %q", name, values)
					}
				}
				if seen.Get(field) != want {
					t.Errorf("the instance is told %s: %q, want %q", field, seen.Get(field), want)
				}
			}
			if cookie := seen.Get("Cookie"); strings.Contains(cookie, "serai") {
				t.Errorf("the instance gets the cookie %s", cookie)
			}
			for _, c := range b.cookies() {
				if c.Name != "__Host-serai-corp" {
					t.Errorf("there is a cookie %s after the login", c.Name)
				}
			}
			before := p.Asked("/oauth/token")
			if a := b.visit("/", ""); a.body != "for id-ann" || p.Asked("/oauth/token") != before {
				t.Errorf("the next page: %d %q", a.status, a.body)
			}
		})
	}
}
