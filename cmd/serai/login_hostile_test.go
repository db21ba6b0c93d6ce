package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// rawGot sends a request as it stands, and returns the answer.
func rawGot(t *testing.T, address, head string) got {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, head)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return got{res.StatusCode, res.Header, string(body)}
}

// TestOnlyNavigationsGoToTheProvider: whatever is no browser that goes to a page gets a 401,
// and nothing reaches the instance.
func TestOnlyNavigationsGoToTheProvider(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	const page = "Accept: text/html"
	for _, c := range []struct {
		method string
		fields []string
		want   int
	}{
		{"GET", []string{page}, 302},
		{"GET", []string{page, "Sec-Fetch-Mode: navigate"}, 302},
		{"GET", []string{"Sec-Fetch-Mode: navigate"}, 302},
		{"GET", nil, 401},
		{"GET", []string{"Accept: application/json"}, 401},
		{"GET", []string{"Accept: */*"}, 401},
		{"GET", []string{page, "X-Requested-With: XMLHttpRequest"}, 401},
		{"GET", []string{page, "Sec-Fetch-Mode: cors"}, 401},
		{"GET", []string{page, "Sec-Fetch-Mode: no-cors"}, 401},
		{"GET", []string{page, "Sec-Fetch-Mode: websocket"}, 401},
		{"GET", []string{page, "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch;prerender"}, 401},
		{"GET", []string{page, "Sec-Fetch-Mode: navigate", "Purpose: prefetch"}, 401},
		{"HEAD", []string{page}, 401},
		{"POST", []string{page, "Sec-Fetch-Mode: navigate"}, 401},
		{"OPTIONS", []string{page}, 401},
		{"PROPFIND", []string{page}, 401},
	} {
		for name, h := range webClients(t, address) {
			a := request(t, h, c.method, "/x", append(c.fields, "X-Forwarded-Proto: https")...)
			if a.status != c.want {
				t.Errorf("%s: %s with %q: answered %d", name, c.method, c.fields, a.status)
			}
			if location := a.fields.Get("Location"); (a.status == 302) != strings.HasPrefix(location, p.URL+"/authorize?") {
				t.Errorf("%s: %s with %q: sent to %q", name, c.method, c.fields, location)
			}
			if a.status == 401 && (a.fields.Get("Www-Authenticate") == "" || a.fields.Get("Set-Cookie") != "" || a.fields.Get("X-Serai-Reason") != "auth-required") {
				t.Errorf("%s: %s: 401 with %v", name, c.method, a.fields)
			}
			if a.fields.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s: %d may be kept by caches: %v", name, c.method, a.status, a.fields)
			}
		}
	}
	a := rawGot(t, address, "GET /ws HTTP/1.1\r\nHost: "+authHost+"\r\nX-Forwarded-Proto: https\r\nAccept: text/html\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if a.status != 401 {
		t.Errorf("a WebSocket is answered %d", a.status)
	}
	// Over plain HTTP nobody logs in, and no session counts.
	for _, path := range []string{"/", "/.serai/oidc/corp/callback?code=x&state=y", "/.serai/oidc/corp/logout"} {
		if a := rawGot(t, address, "GET "+path+" HTTP/1.1\r\nHost: "+authHost+"\r\n"+page+"\r\n\r\n"); a.status != 403 || a.fields.Get("Set-Cookie") != "" {
			t.Errorf("%s over plain http: answered %d with %v", path, a.status, a.fields)
		}
	}
	if i.count() > 0 {
		t.Errorf("%d requests reached the instance", i.count())
	}
}

// TestForgedSessions: a cookie that was changed, cut, put together anew, made for another
// auth or another host, or is merely large, lets nobody in.
func TestForgedSessions(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL, "https://"+authHost+"/.serai/oidc/other/callback")
	keys := secretFile(t, "keys", newCookieKey())
	config := configOf(t, loginBlock(t, "corp", p, keys, "")+loginBlock(t, "other", p, keys, "")+loginBlock(t, "alien", p, secretFile(t, "keys", newCookieKey()), ""))
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{
		i.registration("ingress.auth=corp", "ingress.other.host="+authHost, "ingress.other.path=/other", "ingress.other.auth=other",
			"ingress.wild.host=*.example.org", "ingress.wild.auth=corp", "ingress.alien.host="+authHost, "ingress.alien.path=/alien", "ingress.alien.auth=alien"),
	}, config, behindProxy, "--admin="+admin)
	h := webClients(t, address)["HTTP/1"]
	b := newBrowser(t, p, h)
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	good := b.cookie("__Host-serai-corp")
	try := func(host, path, cookies string) int {
		r, err := http.NewRequest("GET", "http://"+host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, h, r, "X-Forwarded-Proto: https", "Cookie: "+cookies).status
	}
	if n := try(authHost, "/", "__Host-serai-corp="+good); n != 200 {
		t.Fatalf("the cookie itself is answered %d", n)
	}
	before := i.count()
	refused := func(what, host, path, cookies string) {
		t.Helper()
		if n := try(host, path, cookies); n != 401 && n != 431 && n != 400 {
			t.Errorf("%s: answered %d", what, n)
		}
	}
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for n := range good {
		changed := []byte(good)
		if at := strings.IndexByte(alphabet, changed[n]); at >= 0 {
			changed[n] = alphabet[at^1]
		} else {
			changed[n] = '_'
		}
		refused(fmt.Sprint("byte ", n), authHost, "/", "__Host-serai-corp="+string(changed))
	}
	for n := 0; n < len(good); n += 7 {
		refused(fmt.Sprint("the first ", n), authHost, "/", "__Host-serai-corp="+good[:n])
		refused(fmt.Sprint("all but the first ", n+1), authHost, "/", "__Host-serai-corp="+good[n+1:])
	}
	refused("more", authHost, "/", "__Host-serai-corp="+good+"A")
	refused("twice", authHost, "/", "__Host-serai-corp="+good+good[2:])
	for _, count := range []string{"0", "2", "3", "4", "9", "-1", "+1", "1e0", "99999999999999999999", ""} {
		refused("parts: "+count, authHost, "/", "__Host-serai-corp="+count+good[1:])
	}
	refused("another auth's", authHost, "/other", "__Host-serai-other="+good)
	refused("another auth's name", authHost, "/other", "__Host-serai-corp="+good)
	refused("another key's", authHost, "/alien", "__Host-serai-alien="+good)
	refused("another host's", "b.example.org", "/", "__Host-serai-corp="+good)
	refused("the name for plain http", authHost, "/", "insecure-serai-corp="+good)
	refused("another case", authHost, "/", "__host-serai-corp="+good)
	refused("a worse one before", authHost, "/", "__Host-serai-corp=1.x; __Host-serai-corp="+good)
	refused("an attempt's", authHost, "/", "__Host-serai-corp="+strings.Repeat("1.", 3)+good)
	refused("huge", authHost, "/", "__Host-serai-corp=1."+strings.Repeat("A", 40_000))
	refused("huge parts", authHost, "/", fmt.Sprintf("__Host-serai-corp=3.%[1]s; __Host-serai-corp.1=%[1]s; __Host-serai-corp.2=%[1]s", strings.Repeat("A", 15_000)))
	refused("many", authHost, "/", strings.Repeat("__Host-serai-corp.s.0123456789abcdef=x; ", 900))
	refused("beyond the head", authHost, "/", "__Host-serai-corp=1."+strings.Repeat("A", 70_000))
	// An attempt's cookie is no session.
	c := newBrowser(t, p, h)
	c.visit("/", "")
	for _, attempt := range c.cookies() {
		refused("an attempt", authHost, "/", "__Host-serai-corp=1."+attempt.Value)
		refused("an attempt", authHost, "/", "__Host-serai-corp="+attempt.Value)
	}
	if i.count() != before {
		t.Errorf("%d requests reached the instance", i.count()-before)
	}
	if !strings.Contains(metric(admin, `serai_oidc_events_total{event="forged"}`), " ") || strings.HasSuffix(strings.TrimSpace(metric(admin, `serai_oidc_events_total{event="forged"}`)), " 0") {
		t.Errorf("forged cookies are not counted: %q", metric(admin, `serai_oidc_events_total{event="forged"}`))
	}
}

// TestReturnsToItsOwnHost: whatever a browser has asked for, it comes back to the host.
func TestReturnsToItsOwnHost(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	h := webClients(t, address)["HTTP/1"]
	for target, want := range map[string]string{
		"/a/b?c=d":                         "/a/b?c=d",
		"/?next=https://evil.example":      "/?next=https://evil.example",
		"//evil.example/":                  "/",
		"//evil.example":                   "/",
		"///evil.example":                  "/",
		`/\evil.example`:                   "/",
		`/a\evil.example`:                  "/",
		"/%09/evil.example":                "/%09/evil.example",
		"/%0d%0aLocation:%20https://evil/": "/%0d%0aLocation:%20https://evil/",
		"/\t/evil.example":                 "",
		"/\r/evil.example":                 "",
		"/ /evil.example":                  "",
		"https://evil.example/":            "",
		"http://" + authHost + "/abs":      "/abs",
		"http://evil@" + authHost + "/":    "",
		"/.evil.example":                   "/.evil.example",
		"/@evil.example":                   "/@evil.example",
		"/" + strings.Repeat("a", 2000):    "/",
		"/ümlaut":                          "/",
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Proto: https\r\nAccept: text/html\r\nConnection: close\r\n\r\n", target, authHost)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		if want == "" {
			if res.StatusCode < 400 {
				t.Errorf("%q is answered %d", target, res.StatusCode)
			}
			continue
		}
		if res.StatusCode != 302 || !strings.HasPrefix(res.Header.Get("Location"), p.URL+"/") {
			if res.StatusCode >= 400 && want == "/" {
				continue // it is no target at all
			}
			t.Errorf("%q is answered %d to %q", target, res.StatusCode, res.Header.Get("Location"))
			continue
		}
		b := newBrowser(t, p, h)
		b.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, res.Cookies())
		a := b.follow("GET", res.Header.Get("Location"), nil)
		b.visited = nil
		b.follow("POST", p.URL+"/login/username", url.Values{"id": {formID.FindStringSubmatch(a.body)[1]}, "username": {"ann"}, "password": {oidctest.Password}})
		if b.at() != "https://"+authHost+want {
			t.Errorf("%q leads back to %q", target, b.at())
		}
	}
}

// toCallback begins a login, and returns where the provider sends the browser back to.
func (b *browser) toCallback(path, user string) string {
	b.t.Helper()
	b.visited = nil
	a := b.follow("GET", "https://"+authHost+path, nil)
	if !formID.MatchString(a.body) {
		b.t.Fatalf("at %s there is no form: %d %s", b.at(), a.status, a.body)
	}
	a = b.send(b.navigation("POST", b.p.URL+"/login/username", url.Values{"id": {formID.FindStringSubmatch(a.body)[1]}, "username": {user}, "password": {oidctest.Password}}))
	a = b.send(b.navigation("GET", a.fields.Get("Location"), nil))
	to := a.fields.Get("Location")
	if a.status != 302 || !strings.HasPrefix(to, callbackURL+"?") {
		b.t.Fatalf("the provider answers %d to %q", a.status, to)
	}
	return to
}

// TestStatesOfLogins: a callback counts once, in the browser that has begun the login, with
// the code that was made for it, and from this provider.
func TestStatesOfLogins(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	asked := func() int { return p.Asked("/oauth/token") }
	refused := func(what string, b *browser, to string, calls int) {
		t.Helper()
		before := asked()
		a := b.send(b.navigation("GET", to, nil))
		if a.status != 403 || a.fields.Get("X-Serai-Reason") != "auth-denied" || b.cookie("__Host-serai-corp") != "" {
			t.Errorf("%s: answered %d %q, cookie %q", what, a.status, a.body, b.cookie("__Host-serai-corp"))
		}
		if n := asked() - before; n != calls {
			t.Errorf("%s: the provider was asked %d times", what, n)
		}
	}
	with := func(to, name, value string) string {
		u, _ := url.Parse(to)
		query := u.Query()
		if value == "" {
			query.Del(name)
		} else {
			query.Set(name, value)
		}
		u.RawQuery = query.Encode()
		return u.String()
	}
	ann := newBrowser(t, p, h)
	to := ann.toCallback("/", "ann")
	refused("another browser", newBrowser(t, p, h), to, 0) // login CSRF: the attacker's own code
	bob := newBrowser(t, p, h)
	bobs := bob.toCallback("/", "bob")
	u, _ := url.Parse(to)
	refused("another's code", bob, with(bobs, "code", u.Query().Get("code")), 1) // PKCE, at the provider
	ann = newBrowser(t, p, h)
	to = ann.toCallback("/", "ann")
	state := ann.cookies()[0]
	for _, c := range []struct{ what, to string }{
		{"no state", with(to, "state", "")},
		{"another state", with(to, "state", "0123456789abcdef0123456789012345678901")},
		{"a long state", with(to, "state", strings.Repeat("A", 9000))},
		{"two states", to + "&state=x"},
		{"a state that begins alike", with(to, "state", state.Name[len("__Host-serai-corp.s."):]+"AAAAAAAAAAAAAAAAAAAAAA")},
		{"a malformed query", to + "&%zz"},
	} {
		refused(c.what, ann, c.to, 0)
	}
	// Each of these ends the attempt: there is no second guess.
	for _, c := range []struct {
		what   string
		change func(to string) string
		calls  int
	}{
		{"no code", func(to string) string { return with(to, "code", "") }, 0},
		{"two codes", func(to string) string { return to + "&code=x" }, 0},
		{"a long code", func(to string) string { return with(to, "code", strings.Repeat("A", 5000)) }, 0},
		{"a code of nobody's", func(to string) string { return with(to, "code", "AAAA") }, 1},
		{"another issuer", func(to string) string { return with(to, "iss", "https://evil.example") }, 0},
		{"two issuers", func(to string) string {
			return to + "&iss=" + url.QueryEscape(p.URL) + "&iss=" + url.QueryEscape(p.URL)
		}, 0},
		{"an error", func(to string) string { return with(to, "error", "access_denied") }, 0},
		{"a strange error", func(to string) string { return with(to, "error", "<script>\r\nSet-Cookie: a=b") }, 0},
	} {
		ann := newBrowser(t, p, h)
		to := ann.toCallback("/", "ann")
		keeps := ann.cookies()
		refused(c.what, ann, c.change(to), c.calls)
		ann.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, asSet(keeps))
		refused(c.what+", and once more", ann, to, 0)
	}
	// A replay of what has led in.
	ann = newBrowser(t, p, h)
	to = ann.toCallback("/x", "ann")
	keeps := ann.cookies()
	if a := ann.follow("GET", to, nil); a.body != "for id-ann" {
		t.Fatalf("the login itself: %d %q", a.status, a.body)
	}
	again := newBrowser(t, p, h)
	again.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, asSet(keeps))
	refused("a replay", again, to, 0)
	// The same in the browser that is in: a step back in its history harms nobody.
	if a := ann.follow("GET", to, nil); a.status != 200 || ann.at() != "https://"+authHost+"/" {
		t.Errorf("a step back: %d at %s", a.status, ann.at())
	}
	for _, method := range []string{"POST", "HEAD", "PUT", "OPTIONS"} {
		b := newBrowser(t, p, h)
		to := b.toCallback("/", "ann")
		if a := b.send(b.navigation(method, to, nil)); a.status != 403 || b.cookie("__Host-serai-corp") != "" {
			t.Errorf("%s: answered %d", method, a.status)
		}
	}
}

// asSet are cookies as a jar takes them for names that begin with __Host-.
func asSet(cookies []*http.Cookie) []*http.Cookie {
	for _, c := range cookies {
		c.Secure, c.Path = true, "/"
	}
	return cookies
}

// TestManyTabs: logins that were begun at once all come back to their own page; what a
// browser has begun too often is forgotten, the oldest first.
func TestManyTabs(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	b := newBrowser(t, p, h)
	var tabs []string
	for n := range 5 {
		tabs = append(tabs, b.toCallback(fmt.Sprint("/tab", n), "ann"))
	}
	for n, to := range tabs {
		if a := b.follow("GET", to, nil); a.body != "for id-ann" || b.at() != fmt.Sprintf("https://%s/tab%d", authHost, n) {
			t.Errorf("tab %d: %d at %s", n, a.status, b.at())
		}
	}
	c := newBrowser(t, p, h)
	for n := range 30 {
		c.send(c.navigation("GET", fmt.Sprintf("https://%s/%d", authHost, n), nil))
		if len(c.cookies()) > 8 {
			t.Fatalf("there are %d cookies", len(c.cookies()))
		}
	}
	// The last one still leads in.
	if a := c.visit("/last", "ann"); a.body != "for id-ann" || c.at() != "https://"+authHost+"/last" {
		t.Errorf("the last tab: %d at %s", a.status, c.at())
	}
}

// begunAtOnce has the browser begin logins in tabs of which none tells of the others yet, and
// returns where the provider is to send the last of them back from.
func (b *browser) begunAtOnce(paths []string) (logins []string) {
	b.t.Helper()
	for _, path := range paths {
		a := do(b.t, b.to, b.overHTTPS(b.navigation("GET", "http://"+authHost+path, nil)))
		if a.status != 302 {
			b.t.Fatalf("%.20s is answered %d", path, a.status)
		}
		b.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, (&http.Response{Header: a.fields}).Cookies())
		logins = append(logins, a.fields.Get("Location"))
	}
	return logins
}

func (b *browser) overHTTPS(r *http.Request) *http.Request {
	r.Header.Set("X-Forwarded-Proto", "https")
	return r
}

// TestManyTabsAtOnce: a browser that opens many pages at once, before it has a cookie, comes back
// to each of 32. However many there are and however long, their cookies are no more than a head
// may have: it would be refused with them until they end.
func TestManyTabsAtOnce(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	b := newBrowser(t, p, h)
	var paths []string
	for n := range 32 {
		paths = append(paths, fmt.Sprint("/tab", n))
	}
	for n, login := range b.begunAtOnce(paths) {
		a := b.follow("GET", login, nil)
		if id := formID.FindStringSubmatch(a.body); id != nil {
			a = b.follow("POST", b.p.URL+"/login/username", url.Values{"id": {id[1]}, "username": {"ann"}, "password": {oidctest.Password}})
		}
		if a.body != "for id-ann" || b.at() != "https://"+authHost+paths[n] {
			t.Errorf("tab %d: %d at %s", n, a.status, b.at())
		}
	}

	c := newBrowser(t, p, h)
	for n := range 200 {
		paths = append(paths, fmt.Sprintf("/?%d=%s", n, strings.Repeat("x", 1000)), fmt.Sprintf("/?%d=%s", n, strings.Repeat("x", 190)))
	}
	c.begunAtOnce(paths)
	sum := 0
	for _, cookie := range c.cookies() {
		sum += len(cookie.Name) + len(cookie.Value) + len("=; ")
	}
	if sum > 48<<10 {
		t.Errorf("the browser has %d bytes of %d logins", sum, len(c.cookies()))
	}
	if a := c.visit("/last", "ann"); a.body != "for id-ann" || c.at() != "https://"+authHost+"/last" {
		t.Errorf("after too many tabs: %d %s at %s", a.status, a.body, c.at())
	}
	if n := len(c.cookies()); n > 8 { // the session among them
		t.Errorf("%d cookies are left", n)
	}
}

// TestCookiesOfLoginsAreKept: whatever page is asked for, the cookie of its login is one that
// browsers keep (RFC 6265bis section 5.6), and leads back to it.
func TestCookiesOfLoginsAreKept(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	for _, target := range []string{"/?" + strings.Repeat("a&", 511), "/?" + strings.Repeat("&", 1022), "/" + strings.Repeat("&", 1023), "/" + strings.Repeat("x", 1023)} {
		b := newBrowser(t, p, h)
		a := request(t, h, "GET", target, "X-Forwarded-Proto: https", "Sec-Fetch-Mode: navigate")
		cookie, _, _ := strings.Cut(a.fields.Get("Set-Cookie"), ";")
		if a.status != 302 || cookie == "" || len(cookie)-len("=") > 4096 {
			t.Errorf("%.10s...: answered %d with a cookie of %d bytes", target, a.status, len(cookie))
		}
		if a := b.visit(target, "ann"); a.body != "for id-ann" || b.at() != "https://"+authHost+target {
			t.Errorf("%.10s...: %d, led back to %s", target, a.status, b.at())
		}
	}
}

// TestFloodOfCallbacks: callbacks that were not begun here cost the provider nothing; those
// that were, no more than the limits say, and others are served meanwhile.
func TestFloodOfCallbacks(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	other := instance(t, "other", "ingress.host=other.example.org")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp"), other}, loginConfig(t, p, ""), behindProxy)
	h := webClients(t, address)["HTTP/1"]
	newBrowser(t, p, h).visit("/", "") // the provider is known from now on
	discovered := p.Asked("/.well-known/openid-configuration")
	for n := range 300 {
		a := request(t, h, "GET", "/.serai/oidc/corp/callback?code=x&state=0123456789abcdef0123456789012345678901", "X-Forwarded-Proto: https", fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", n%250), "Cookie: __Host-serai-corp.s.0123456789abcdef=AAAA")
		if a.status != 403 {
			t.Fatalf("answered %d", a.status)
		}
	}
	if n := p.Asked("/oauth/token"); n != 0 {
		t.Errorf("the provider was asked for %d tokens", n)
	}
	// Real attempts with codes of nobody's, from one client, while the provider is slow.
	hold := make(chan struct{})
	var underWay, most int
	var mu sync.Mutex
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		underWay++
		most = max(most, underWay)
		mu.Unlock()
		<-hold
		mu.Lock()
		underWay--
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant"}`)
	})
	var all sync.WaitGroup
	answers := make(chan int, 60)
	for range 60 {
		all.Go(func() {
			begun := request(t, h, "GET", "/", "X-Forwarded-Proto: https", "Accept: text/html", "X-Forwarded-For: 198.51.100.7")
			to, err := url.Parse(begun.fields.Get("Location"))
			if err != nil || begun.status != 302 {
				answers <- begun.status // too many at once
				return
			}
			cookie, _, _ := strings.Cut(begun.fields.Get("Set-Cookie"), ";")
			answers <- request(t, h, "GET", "/.serai/oidc/corp/callback?code=x&state="+to.Query().Get("state"), "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.7", "Cookie: "+cookie).status
		})
	}
	until(t, "a refusal", func() bool { return len(answers) > 0 })
	for range 20 {
		if status, body := get(address, "other.example.org", "/"); status != 200 {
			t.Fatalf("another route is answered %d %s", status, body)
		}
	}
	close(hold)
	all.Wait()
	close(answers)
	counts := make(map[int]int)
	for status := range answers {
		counts[status]++
	}
	if most > 16 || counts[429] == 0 || counts[429]+counts[403]+counts[503] != 60 {
		t.Errorf("%d requests to the provider at once, answers %v", most, counts)
	}
	// Once more at most: serai reads files anew that were written just before it started.
	if n := p.Asked("/.well-known/openid-configuration"); n > discovered+1 {
		t.Errorf("the provider was discovered %d times", n)
	}
	if i.count() > 0 {
		t.Error("a request reached the instance")
	}
}

// TestLoginBeyondALimit: a login that comes back while others take all places at the provider
// is not used up: the same page, loaded again when there is room, leads in, and once only.
func TestLoginBeyondALimit(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, "    max_inflight = 1\n"), behindProxy)
	h := webClients(t, address)["HTTP/1"]
	ann, bob := newBrowser(t, p, h), newBrowser(t, p, h)
	anns, bobs := ann.toCallback("/", "ann"), bob.toCallback("/", "bob")
	hold, asked := make(chan struct{}), make(chan struct{}, 1)
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-hold
		w.WriteHeader(500)
	})
	var all sync.WaitGroup
	all.Go(func() {
		if a := ann.send(ann.navigation("GET", anns, nil)); a.status != 503 {
			t.Errorf("while the provider fails: %d %s", a.status, a.body)
		}
	})
	<-asked
	for range 3 {
		a := bob.send(bob.navigation("GET", bobs, nil))
		if reason := a.fields.Get("X-Serai-Reason"); reason != "auth-busy" || a.fields.Get("Retry-After") == "" {
			t.Errorf("without a place: %d %q %s", a.status, reason, a.body)
		}
	}
	close(hold)
	all.Wait()
	p.Fail("/oauth/token", nil)
	keeps := bob.cookies()
	if a := bob.follow("GET", bobs, nil); a.body != "for id-bob" {
		t.Errorf("the same login, once there is a place: %d %s", a.status, a.body)
	}
	again := newBrowser(t, p, h)
	again.jar.SetCookies(&url.URL{Scheme: "https", Host: authHost, Path: "/"}, asSet(keeps))
	if a := again.send(again.navigation("GET", bobs, nil)); a.status != 403 {
		t.Errorf("a replay: %d %s", a.status, a.body)
	}
	// The code of this one was sent to the provider, and may be used up.
	if a := ann.send(ann.navigation("GET", anns, nil)); a.status != 403 {
		t.Errorf("a login that the provider was asked about: %d %s", a.status, a.body)
	}
}
