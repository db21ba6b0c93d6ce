package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// on is the same browser at another serai.
func (b *browser) on(h *http.Client) *browser {
	other := *b
	other.to = h
	return &other
}

// copy is another browser with the same cookies: a thief's.
func (b *browser) copy(h *http.Client) *browser {
	c := newBrowser(b.t, b.p, h)
	c.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, asSet(b.cookies()))
	return c
}

// xhr asks for a path as a script does.
func (b *browser) xhr(path string) got {
	b.t.Helper()
	r := b.navigation("GET", "https://"+authHost+path, nil)
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Accept", "application/json")
	return b.send(r)
}

// TestLogout: the cookie is gone, a copy of it counts no more on this node, the provider
// has ended its own session and takes no refresh token of it, so that another node stops
// when it renews the session.
func TestLogout(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL, "https://"+authHost+"/bye")
	config := loginConfig(t, p, "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"10s\"\n    logout_redirect = \"/bye\"\n")
	regs := []nomad.Registration{i.registration("ingress.auth=corp", "ingress.bye.host="+authHost, "ingress.bye.path-exact=/bye")}
	_, first := serveStatic(t, regs, config, behindProxy)
	_, second := serveStatic(t, regs, config, behindProxy)
	h, other := webClients(t, first)["HTTP/1"], webClients(t, second)["HTTP/1"]
	b := newBrowser(t, p, h)
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	thief, remote := b.copy(h), b.copy(other)
	if here, there := thief.xhr("/"), remote.xhr("/"); here.status != 200 || there.status != 200 {
		t.Fatalf("copies are answered %d and %d", here.status, there.status)
	}
	a := b.follow("GET", "https://"+authHost+"/.serai/oidc/corp/logout", nil)
	if a.status != 200 || b.at() != "https://"+authHost+"/bye" || len(b.cookies()) != 0 {
		t.Errorf("a logout: %d at %s; the cookies are %q", a.status, b.at(), b.cookies())
	}
	if p.Asked("/end_session") != 1 || p.Asked("/revoke") != 1 {
		t.Errorf("the provider's session was ended %d times, the refresh token revoked %d times", p.Asked("/end_session"), p.Asked("/revoke"))
	}
	if a := thief.xhr("/"); a.status != 401 {
		t.Errorf("a copy of the cookie is answered %d", a.status)
	}
	until(t, "the end of the session on the other node", func() bool { return remote.xhr("/").status == 401 })
	if a := b.xhr("/"); a.status != 401 {
		t.Errorf("without a cookie: %d", a.status)
	}
}

// TestLogoutIsWanted: no other site logs users out.
func TestLogoutIsWanted(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	b := newBrowser(t, p, h)
	b.visit("/", "ann")
	const path = "https://" + authHost + "/.serai/oidc/corp/logout"
	send := func(method string, fields ...string) got {
		r, err := http.NewRequest(method, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range fields {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		return b.send(r)
	}
	for _, c := range []struct {
		method string
		fields []string
		want   int
	}{
		{"GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 200},
		{"GET", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate"}, 200},
		{"GET", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors"}, 200}, // an image
		{"GET", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch"}, 200},
		{"GET", nil, 200},
		{"GET", []string{"Referer: https://" + authHost + ".evil.example/"}, 200},
		{"GET", []string{"Referer: https://evil.example/https://" + authHost + "/"}, 200},
		{"POST", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site: none"}, 403},
		{"POST", nil, 403},
		{"POST", []string{"Origin: null"}, 403},
		{"POST", []string{"Origin: https://evil.example"}, 403},
		{"POST", []string{"Origin: http://" + authHost}, 403},
		{"POST", []string{"Origin: https://" + authHost + ":8443"}, 403},
		{"PUT", []string{"Sec-Fetch-Site: same-origin"}, 403},
		{"HEAD", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate"}, 403},
	} {
		if a := send(c.method, c.fields...); a.status != c.want || a.status == 200 && !strings.Contains(a.body, `<form method="post">`) {
			t.Errorf("%s with %q: answered %d %q", c.method, c.fields, a.status, a.body)
		}
		if a := b.xhr("/"); a.status != 200 {
			t.Fatalf("%s with %q has logged the user out", c.method, c.fields)
		}
	}
	const navigates = "Sec-Fetch-Mode: navigate"
	for _, c := range []struct{ method, field string }{
		{"POST", "Sec-Fetch-Site: same-origin"}, {"POST", "Origin: https://" + authHost}, {"GET", "Referer: https://" + authHost + "/"},
		{"GET", "Sec-Fetch-Site: none"}, {"GET", "Sec-Fetch-Site: same-origin"},
	} {
		a := send(c.method, c.field, navigates)
		if a.status != 302 && a.status != 303 || !strings.HasPrefix(a.fields.Get("Location"), p.URL+"/end_session?client_id=serai") || len(b.cookies()) != 0 {
			t.Errorf("%s with %s: answered %d to %q", c.method, c.field, a.status, a.fields.Get("Location"))
		}
		b.visit("/", "ann")
	}
}

// TestSessionsCountOnEveryNode: a login may begin at one node and come back to another, and
// its session counts on all that have the key, also while the keys are changed one by one.
func TestSessionsCountOnEveryNode(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	regs := []nomad.Registration{i.registration("ingress.auth=corp")}
	older, newer := newCookieKey(), newCookieKey()
	keys := secretFile(t, "keys", older+"\n")
	_, first := serveStatic(t, regs, configOf(t, loginBlock(t, "corp", p, keys, "")), behindProxy)
	_, second := serveStatic(t, regs, configOf(t, loginBlock(t, "corp", p, secretFile(t, "keys", "# both\n"+newer+"\n"+older+"\n"), "")), behindProxy)
	_, third := serveStatic(t, regs, configOf(t, loginBlock(t, "corp", p, secretFile(t, "keys", newer), "")), behindProxy)
	h1, h2, h3 := webClients(t, first)["HTTP/1"], webClients(t, second)["HTTP/2"], webClients(t, third)["HTTP/1"]
	b := newBrowser(t, p, h1)
	to := b.toCallback("/x", "ann")
	if a := b.on(h2).follow("GET", to, nil); a.body != "for id-ann" {
		t.Fatalf("a login that comes back to another node: %d %s", a.status, a.body)
	}
	// The second node has sealed with the newer key.
	for want, h := range map[int]*http.Client{401: h1, 200: h3} {
		if a := b.on(h).xhr("/"); a.status != want {
			t.Errorf("with one of the keys: %d, want %d", a.status, want)
		}
	}
	replaceFile(t, keys, newer+"\n"+older+"\n")
	until(t, "the newer key at the first node", func() bool { return b.on(h1).xhr("/").status == 200 })
	// Login at the first node, whose file was changed, counts everywhere.
	c := newBrowser(t, p, h1)
	c.visit("/", "bob")
	for _, h := range []*http.Client{h1, h2, h3} {
		if a := c.on(h).xhr("/"); a.body != "for id-bob" {
			t.Errorf("after the change: %d %q", a.status, a.body)
		}
	}
}

// TestRenewal: a session is renewed once for all requests that come at once; what the
// provider says by then counts; one that it does not renew ends.
func TestRenewal(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")},
		loginConfig(t, p, "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"5s\"\n"), behindProxy)
	h := webClients(t, address)["HTTP/2"]
	b := newBrowser(t, p, h)
	b.visit("/", "ann")
	login := p.Asked("/oauth/token")
	p.SetGroups("ann", "sales")
	time.Sleep(6 * time.Second) // until it is due
	old := b.cookie("__Host-serai-corp")
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			a := request(t, h, "GET", "/", "X-Forwarded-Proto: https", "Cookie: __Host-serai-corp="+old)
			if a.status != 200 {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if cookie := a.fields.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-serai-corp=1.") || a.fields.Get("Cache-Control") != "private, no-store" {
				t.Errorf("no new cookie: %v", a.fields)
			}
		})
	}
	all.Wait()
	if n := p.Asked("/oauth/token") - login; n != 1 {
		t.Errorf("the session was renewed %d times", n)
	}
	b.xhr("/")
	if groups := i.last().Get("X-Forwarded-Groups"); groups != "sales" || b.cookie("__Host-serai-corp") == old {
		t.Errorf("the groups are %q, the cookie is the same: %v", groups, b.cookie("__Host-serai-corp") == old)
	}
	// Again and again: each time with the refresh token of the last time, as the provider wants.
	until(t, "three more renewals", func() bool {
		if a := b.xhr("/"); a.status != 200 {
			t.Fatalf("answered %d", a.status)
		}
		return p.Asked("/oauth/token")-login >= 4
	})
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant"}`)
	})
	until(t, "the end of the session", func() bool { return b.xhr("/").status == 401 })
	if a := b.send(b.navigation("GET", "https://"+authHost+"/", nil)); a.status != 302 {
		t.Errorf("a page is answered %d then", a.status)
	}
}

// TestRenewalOnTwoNodes: when two nodes renew one session, one of them is refused, because
// refresh tokens count once; nobody is logged out by it.
func TestRenewalOnTwoNodes(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	config := loginConfig(t, p, "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"20s\"\n")
	regs := []nomad.Registration{i.registration("ingress.auth=corp")}
	_, first := serveStatic(t, regs, config, behindProxy)
	_, second := serveStatic(t, regs, config, behindProxy)
	h1, h2 := webClients(t, first)["HTTP/1"], webClients(t, second)["HTTP/1"]
	b := newBrowser(t, p, h1)
	b.visit("/", "ann")
	login, old := p.Asked("/oauth/token"), b.cookie("__Host-serai-corp")
	until(t, "a renewal at each node", func() bool {
		for _, h := range []*http.Client{h1, h2} {
			if a := request(t, h, "GET", "/", "X-Forwarded-Proto: https", "Cookie: __Host-serai-corp="+old); a.status != 200 {
				t.Fatalf("answered %d %s", a.status, a.body)
			} else if cookie := a.fields.Get("Set-Cookie"); cookie != "" {
				b.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, (&http.Response{Header: a.fields}).Cookies())
			}
		}
		time.Sleep(100 * time.Millisecond)
		return p.Asked("/oauth/token")-login >= 2
	})
	for range 2 {
		for _, h := range []*http.Client{h1, h2} {
			if a := b.on(h).xhr("/"); a.status != 200 {
				t.Errorf("the new cookie is answered %d", a.status)
			}
		}
	}
}

// TestProviderAway: while the provider is down or slow nobody can log in, sessions go on,
// and others are served as ever; when it comes back, logins do.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	down := func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }
	p.Fail("*", down)
	other := instance(t, "other", "ingress.host=other.example.org")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp"), other},
		loginConfig(t, p, "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"1s\"\n"), behindProxy)
	h := webClients(t, address)["HTTP/1"]
	b := newBrowser(t, p, h)
	page := func(b *browser) got { return b.send(b.navigation("GET", "https://"+authHost+"/", nil)) }
	for range 50 {
		if a := page(b); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
			t.Fatalf("answered %d with %v", a.status, a.fields)
		}
	}
	if n := p.Asked("/.well-known/openid-configuration"); n > 10 {
		t.Errorf("the provider was asked %d times in vain", n)
	}
	p.Fail("*", nil)
	until(t, "the provider", func() bool { return page(b).status == 302 })
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	p.Fail("*", down)
	time.Sleep(1200 * time.Millisecond) // until the session is due
	for range 5 {
		if a := b.xhr("/"); a.body != "for id-ann" {
			t.Fatalf("a session while the provider is away: %d %s", a.status, a.body)
		}
	}
	c := newBrowser(t, p, h)
	p.Fail("*", nil)
	until(t, "the provider once more", func() bool { return page(c).status == 302 })
	to := c.toCallback("/", "bob")
	hold := make(chan struct{})
	p.Fail("*", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	defer close(hold)
	var all sync.WaitGroup
	all.Go(func() {
		if a := c.send(c.navigation("GET", to, nil)); a.status != 503 {
			t.Errorf("a callback while the provider hangs: %d %s", a.status, a.body)
		}
	})
	for range 40 {
		all.Go(func() {
			if a := request(t, h, "GET", "/", "X-Forwarded-Proto: https", "Cookie: __Host-serai-corp="+b.cookie("__Host-serai-corp")); a.body != "for id-ann" {
				t.Errorf("a session while the provider hangs: %d %s", a.status, a.body)
			}
		})
	}
	for range 20 {
		if status, body := get(address, "other.example.org", "/"); status != 200 {
			t.Fatalf("another route is answered %d %s", status, body)
		}
	}
	all.Wait()
}

// soonStale logs ann in, whose session is renewed each second, and stale a second later.
func soonStale(t *testing.T) (*oidctest.Provider, *browser) {
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")},
		loginConfig(t, p, "    scopes = [\"offline_access\"]\n    renew = \"1s\"\n    stale = \"1s\"\n"), behindProxy)
	b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
	b.visit("/", "ann")
	return p, b
}

// TestStaleSessionsEnd: a session that the provider could not renew for too long ends.
func TestStaleSessionsEnd(t *testing.T) {
	t.Parallel()
	p, b := soonStale(t)
	p.Fail("*", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	until(t, "the end of the session", func() bool {
		a := b.xhr("/")
		return a.status == 503 && a.fields.Get("X-Serai-Reason") == "auth-unavailable"
	})
}

// TestStaleSessionBeginsAnew: where the provider answers, but not to the refresh token, a
// browser that opens a page may log in again when its session has been stale for too long.
func TestStaleSessionBeginsAnew(t *testing.T) {
	t.Parallel()
	p, b := soonStale(t)
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	until(t, "the end of the session", func() bool { return b.xhr("/").status == 503 })
	a := b.send(b.navigation("GET", "https://"+authHost+"/page", nil))
	login := a.fields.Get("Location")
	if a.status != 302 || !strings.HasPrefix(login, p.URL+"/") {
		t.Fatalf("a page is answered %d %s, to %q", a.status, a.fields.Get("X-Serai-Reason"), login)
	}
	p.Fail("/oauth/token", nil)
	page := b.follow("GET", login, nil)
	id := formID.FindStringSubmatch(page.body)
	if id == nil {
		t.Fatalf("the provider shows no login: %d %s", page.status, page.body)
	}
	a = b.follow("POST", p.URL+"/login/username", url.Values{"id": {id[1]}, "username": {"ann"}, "password": {oidctest.Password}})
	if a.body != "for id-ann" || b.at() != "https://"+authHost+"/page" {
		t.Errorf("after the login: %d %s at %s", a.status, a.body, b.at())
	}
}

// TestSessionsEnd: without a refresh token they end when they would be renewed, and at their
// lifetime in any case.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	for _, more := range []string{"    renew = \"5s\"\n", "    lifetime = \"5s\"\n    scopes = [\"offline_access\"]\n"} {
		p := oidctest.New(t, callbackURL)
		_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, more), behindProxy)
		h := webClients(t, address)["HTTP/1"]
		b := newBrowser(t, p, h)
		if a := b.visit("/", "ann"); a.status != 200 {
			t.Fatalf("answered %d", a.status)
		}
		thief := b.copy(h) // which keeps the cookie beyond its Max-Age
		until(t, "the end of the session", func() bool { return thief.xhr("/").status == 401 })
	}
}

// TestGroups: who is in none of the groups gets 403, and a large number of groups comes
// along in several cookies.
func TestGroups(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, "    groups = [\"ops\", \"admins\"]\n"), behindProxy)
	h := webClients(t, address)["HTTP/1"]
	if a := newBrowser(t, p, h).visit("/", "bob"); a.status != 403 || a.fields.Get("X-Serai-Reason") != "auth-denied" || !strings.Contains(a.body, "/.serai/oidc/corp/logout") {
		t.Errorf("bob is answered %d %s", a.status, a.body)
	}
	if i.count() > 0 {
		t.Error("bob has reached the instance")
	}
	var many []string
	for n := range 170 {
		many = append(many, fmt.Sprintf("a-group-with-a-long-name-%04d", n))
	}
	p.SetGroups("ann", append(many, "ops", "a,admins", "x\r\ny", " blank ", "")...)
	b := newBrowser(t, p, h)
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("ann is answered %d %s", a.status, a.body)
	}
	if n := len(b.cookies()); n < 2 || n > 3 {
		t.Errorf("there are %d cookies", n)
	}
	for _, c := range b.cookies() {
		if len(c.Name)+len(c.Value) > 3800 {
			t.Errorf("%s has %d bytes", c.Name, len(c.Value))
		}
	}
	if groups := i.last().Get("X-Forwarded-Groups"); groups != strings.Join(many, ",")+",ops" {
		t.Errorf("the groups are %q", groups)
	}
	if cookie := i.last().Get("Cookie"); cookie != "" {
		t.Errorf("the instance gets %s", cookie)
	}
	// Without one of the parts it is no session.
	for n := range b.cookies() {
		var kept []string
		for m, c := range b.cookies() {
			if m != n {
				kept = append(kept, c.Name+"="+c.Value)
			}
		}
		if a := request(t, h, "GET", "/", "X-Forwarded-Proto: https", "Cookie: "+strings.Join(kept, "; ")); a.status != 401 {
			t.Errorf("without part %d: %d", n, a.status)
		}
	}
	// More than fits: those that matter stay.
	for n := range 900 {
		many = append(many, fmt.Sprintf("another-group-with-a-long-name-%04d", n))
	}
	p.SetGroups("ann", append([]string{"ops"}, many...)...)
	c := newBrowser(t, p, h)
	if a := c.visit("/", "ann"); a.status != 200 || i.last().Get("X-Forwarded-Groups") != "ops" {
		t.Errorf("with %d groups: %d, told %q", len(many), a.status, i.last().Get("X-Forwarded-Groups"))
	}
	// A smaller session takes the place of a larger one.
	b.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, asSet([]*http.Cookie{{Name: "__Host-serai-corp", Value: "1.x"}}))
	p.SetGroups("ann", "ops")
	if a := b.visit("/", "ann"); a.status != 200 || len(b.cookies()) != 1 {
		t.Errorf("a smaller session: %d with %d cookies", a.status, len(b.cookies()))
	}
}

// TestUnconfirmedAddress: an address that its owner has not confirmed is nobody's.
func TestUnconfirmedAddress(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	p.Doubt("ann")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, "    user_claim = \"preferred_username\"\n    user_field = \"Remote-User\"\n"), behindProxy)
	b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
	b.fields = http.Header{"X-Forwarded-Email": {"root@example.org"}, "Remote-User": {"root"}}
	if a := b.visit("/", "ann"); a.body != "for ann" {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	if email := i.last()["X-Forwarded-Email"]; email != nil {
		t.Errorf("the instance is told %q", email)
	}
}

// TestLoginOfOnePath: the callback of a route that takes one path of its host is answered
// all the same, and the other routes of the host get no cookie of it.
func TestLoginOfOnePath(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	admin := testnet.Address(t)
	reg := i.registration("ingress.admin.host="+authHost, "ingress.admin.path=/admin", "ingress.admin.auth=corp", "ingress.admin.allow=127.0.0.0/8,192.0.2.0/24",
		"ingress.other.host="+authHost, "ingress.other.path=/other", "ingress.other.auth=corp")
	_, address := serveStatic(t, []nomad.Registration{reg}, loginConfig(t, p, ""), behindProxy, "--admin="+admin)
	for name, h := range webClients(t, address) {
		b := newBrowser(t, p, h)
		if a := b.visit("/admin/x", "ann"); a.body != "for id-ann" || b.at() != "https://"+authHost+"/admin/x" {
			t.Fatalf("%s: %d %s at %s", name, a.status, a.body, b.at())
		}
		r := b.navigation("GET", "https://"+authHost+"/public", nil)
		r.Header.Set("Cookie", "a=b; insecure-serai-corp=x; c=d")
		if a := b.send(r); a.status != 200 || i.last().Get("Cookie") != "a=b; c=d" {
			t.Errorf("%s: the open route is answered %d and gets %q", name, a.status, i.last().Get("Cookie"))
		}
		if a := b.visit("/other", ""); a.body != "for id-ann" {
			t.Errorf("%s: another route with the same auth: %d", name, a.status)
		}
		// The address list of one route is not in the way of the others' logins, and stays
		// where it is.
		c := newBrowser(t, p, h)
		c.fields = http.Header{"X-Forwarded-For": {"198.51.100.1"}}
		if a := c.visit("/other", "ann"); a.body != "for id-ann" {
			t.Errorf("%s: another client: %d %s", name, a.status, a.body)
		}
		if a := c.visit("/admin/x", ""); a.status != 403 {
			t.Errorf("%s: another client at /admin: %d", name, a.status)
		}
	}
	if _, told := get(admin, "localhost", "/explain?host="+authHost+"&path=/.serai/oidc/corp/callback"); !strings.Contains(told, "corp wants a login at "+p.URL) {
		t.Errorf("/explain says %s", told)
	}
}

// TestReloadKeepsLogouts: another secret or key makes the auth anew, and a session that was
// logged out of stays so.
func TestReloadKeepsLogouts(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	secret := secretFile(t, "secret", "a wrong one")
	config := configOf(t, fmt.Sprintf("auth \"corp\" {\n  oidc {\n    issuer = %q\n    client_id = %q\n    client_secret_file = %q\n    cookie_key_file = %q\n    ca_file = %q\n  }\n}\n",
		p.URL, oidctest.ClientID, secret, secretFile(t, "keys", newCookieKey()), secretFile(t, "ca.pem", string(p.CA))))
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, config, behindProxy)
	h := webClients(t, address)["HTTP/1"]
	if a := newBrowser(t, p, h).visit("/", "ann"); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
		t.Fatalf("with a wrong secret: %d %s", a.status, a.body)
	}
	replaceFile(t, secret, oidctest.ClientSecret)
	b := newBrowser(t, p, h)
	until(t, "the right secret", func() bool {
		time.Sleep(200 * time.Millisecond)
		return newBrowser(t, p, h).visit("/", "ann").status == 200
	})
	b.visit("/", "ann")
	thief, other := b.copy(h), newBrowser(t, p, h)
	other.visit("/", "bob")
	b.follow("GET", "https://"+authHost+"/.serai/oidc/corp/logout", nil)
	replaceFile(t, secret, oidctest.ClientSecret+"\n\n")
	path := strings.TrimPrefix(config, "--config=")
	text, _ := os.ReadFile(path)
	replaceFile(t, path, strings.Replace(string(text), "oidc {", "oidc {\n    user_field = \"Remote-User\"", 1))
	until(t, "the new block", func() bool {
		if thief.xhr("/").status != 401 {
			t.Fatal("a session that was logged out of counts again")
		}
		other.xhr("/")
		return i.last().Get("Remote-User") == "id-bob"
	})
	if a := thief.xhr("/"); a.status != 401 {
		t.Errorf("after the reload a copy of the cookie is answered %d", a.status)
	}
}

// TestTagsEndNoLogin: no tag about the fields of answers keeps anybody from logging in, or has
// caches give a session to others.
func TestTagsEndNoLogin(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	tags := i.registration("ingress.auth=corp", "ingress.response-remove=Set-Cookie", "ingress.response-set=Cache-Control: public, max-age=3600")
	_, address := serveStatic(t, []nomad.Registration{tags}, loginConfig(t, p, ""), behindProxy)
	b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
	for range 2 {
		if a := b.visit("/", "ann"); a.status != 200 || a.body != "for id-ann" {
			t.Fatalf("answered %d %q; visited %q", a.status, a.body, b.visited)
		}
	}
	if n := p.Asked("/oauth/token"); n != 1 {
		t.Errorf("the provider has been asked for %d tokens", n)
	}
	a := newBrowser(t, p, b.to).send(b.navigation("GET", "https://"+authHost+"/", nil))
	if got := a.fields.Get("Cache-Control"); a.status != 302 || a.fields.Get("Set-Cookie") == "" || got != "private, no-store" {
		t.Errorf("a login begins with %d, %v", a.status, a.fields)
	}
}
