package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"serai/nomad"
)

// autheliaBlock is the recipe of docs/policies.md, which asks this path.
func autheliaBlock(path string) string {
	return fmt.Sprintf("auth \"sso\" {\n  forward {\n    service = \"authelia\"\n    path = %q\n    copy = [\"Remote-User\", \"Remote-Groups\", \"Remote-Name\", \"Remote-Email\"]\n  }\n}\n", path)
}

// overHTTPS, and what a browser says when it goes to a page.
const (
	overHTTPS   = "X-Forwarded-Proto: https"
	acceptsHTML = "Accept: text/html,*/*;q=0.8"
)

// signIn has a user log in at the portal, through serai, and returns the cookie.
func signIn(t *testing.T, h *http.Client, user, target string) (cookie, back string) {
	t.Helper()
	body := fmt.Sprintf(`{"username": %q, "password": "pw", "keepMeLoggedIn": false, "targetURL": %q}`, user, target)
	r, err := http.NewRequest("POST", "http://"+portalHost+"/api/firstfactor", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	a := do(t, h, r, overHTTPS, "Content-Type: application/json")
	var said struct {
		Status string
		Data   struct{ Redirect string }
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != 200 || said.Status != "OK" || len(a.fields["Set-Cookie"]) == 0 {
		t.Fatalf("the login of %s is answered %d %s with %v", user, a.status, a.body, a.fields)
	}
	cookie, _, _ = strings.Cut(a.fields["Set-Cookie"][len(a.fields["Set-Cookie"])-1], ";")
	return cookie, said.Data.Redirect
}

// TestAuthelia: the recipe of docs/policies.md with the real program, over both engines.
func TestAuthelia(t *testing.T) {
	t.Parallel()
	a := newAuthelia(t, false)
	i := newGuardedInstance(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso"), a.registration()}, configOf(t, autheliaBlock("/api/authz/forward-auth")), behindProxy)
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			testStrangersAtAuthelia(t, i, h)
			testUsersOfAuthelia(t, i, h)
		})
	}
	testAutheliaUpgrade(t, i, address)
	h := webClients(t, address)["HTTP/1"]
	cookie, _ := signIn(t, h, "ann", "")
	reached := i.count()
	a.stop()
	if g := request(t, h, "GET", "/", overHTTPS, "Cookie: "+cookie); g.status != 503 || g.fields.Get("X-Serai-Reason") != "auth-unavailable" || i.count() != reached {
		t.Errorf("without authelia answered %d with %v", g.status, g.fields)
	}
}

// testStrangersAtAuthelia: who has no session is sent to the portal, or told so.
func testStrangersAtAuthelia(t *testing.T, i *guardedInstance, h *http.Client) {
	reached := i.count()
	portal := func(method, path string) string {
		return "https://" + portalHost + "/?rd=https%3A%2F%2F" + authHost + path + "&rm=" + method
	}
	for _, c := range []struct {
		method string
		fields []string
		status int
	}{
		{"GET", []string{acceptsHTML}, 302},
		{"HEAD", []string{acceptsHTML}, 302},
		{"POST", []string{acceptsHTML}, 303},
		{"GET", []string{"Accept: application/json"}, 401},
		{"GET", []string{acceptsHTML, "X-Requested-With: XMLHttpRequest"}, 401},
		{"POST", []string{"Accept: application/json"}, 401},
		{"GET", []string{acceptsHTML, "Cookie: authelia_session=forged"}, 302},
		{"GET", []string{acceptsHTML, "Remote-User: ann", "X-Forwarded-Uri: /public/x", "X-Original-Url: https://" + authHost + "/public/x"}, 302},
	} {
		g := request(t, h, c.method, "/x?y=z", append(c.fields, overHTTPS)...)
		if g.status != c.status || g.fields.Get("Location") != portal(c.method, "%2Fx%3Fy%3Dz") || g.fields.Get("X-Serai-Reason") != "auth-denied" {
			t.Errorf("%s with %q: answered %d to %q", c.method, c.fields, g.status, g.fields.Get("Location"))
		}
	}
	// Authelia knows no session over plain http.
	if g := request(t, h, "GET", "/x", acceptsHTML); g.status != 400 || g.fields.Get("X-Serai-Reason") != "auth-denied" {
		t.Errorf("over plain http: answered %d with %v", g.status, g.fields)
	}
	// What is open by Authelia's rules opens nothing else, however it is written: nobody is asked.
	for _, path := range []string{"/public/../x", "/public/%2e%2e/x", "/public/..%2fx", "/%70ublic/../x", "//public/x/../../x"} {
		r, err := http.NewRequest("GET", "http://"+authHost+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = path
		if strings.HasPrefix(path, "//") {
			r.URL.Opaque = "http://" + authHost + path
		}
		if g := do(t, h, r, acceptsHTML, overHTTPS); g.status != 400 || g.fields.Get("X-Serai-Reason") != "disguised-path" {
			t.Errorf("%s: answered %d with %v", path, g.status, g.fields)
		}
	}
	if i.count() != reached {
		t.Fatalf("%d requests have reached the instance", i.count()-reached)
	}
	if g := request(t, h, "GET", "/public/x", overHTTPS, "Remote-User: root", "remote_groups: admins"); g.status != 200 || g.body != "for " {
		t.Errorf("what everybody may see: answered %d %q", g.status, g.body)
	}
}

// testUsersOfAuthelia: who has one, or a password, gets what its rules say.
func testUsersOfAuthelia(t *testing.T, i *guardedInstance, h *http.Client) {
	cookie, back := signIn(t, h, "ann", "https://"+authHost+"/x?y=z")
	if back != "https://"+authHost+"/x?y=z" {
		t.Errorf("after the login the browser goes to %q", back)
	}
	if g := request(t, h, "GET", "/x?y=z", overHTTPS, "Cookie: "+cookie, "Remote-User: root", "Remote_Groups: admins", "remote-email: root@example.org"); g.status != 200 || g.body != "for ann" {
		t.Fatalf("with a session answered %d %q with %v", g.status, g.body, g.fields)
	}
	seen := i.last()
	for field, want := range map[string]string{"Remote-User": "ann", "Remote-Groups": "dev,ops", "Remote-Name": "Ann", "Remote-Email": "ann@example.org"} {
		if !slices.Equal(seen[field], []string{want}) {
			t.Errorf("the instance is told %s: %q, want %q", field, seen[field], want)
		}
	}
	if seen["Remote_groups"] != nil {
		t.Errorf("the instance gets the client's Remote_Groups: %q", seen["Remote_groups"])
	}
	for path, want := range map[string]int{"/": 200, "/admin": 200, "/admin/x": 200} {
		if g := request(t, h, "POST", path, overHTTPS, "Cookie: "+cookie); g.status != want {
			t.Errorf("ann at %s: answered %d", path, g.status)
		}
	}
	bob, _ := signIn(t, h, "bob", "")
	for path, want := range map[string]int{"/": 200, "/admin": 403, "/admin/x": 403, "/%61dmin": 403, "/x/../admin": 400} {
		if g := request(t, h, "GET", path, acceptsHTML, overHTTPS, "Cookie: "+bob); g.status != want {
			t.Errorf("bob at %s: answered %d", path, g.status)
		}
	}
	// Passwords without the portal, as scripts have them.
	if g := request(t, h, "GET", "/", overHTTPS, login("ann", "pw")); g.status != 200 || g.body != "for ann" {
		t.Errorf("with a password answered %d %q", g.status, g.body)
	}
	if g := request(t, h, "GET", "/", overHTTPS, login("ann", "wrong")); g.status != 401 || !strings.HasPrefix(g.fields.Get("Www-Authenticate"), "Basic ") {
		t.Errorf("with a wrong password answered %d with %v", g.status, g.fields)
	}
	r, err := http.NewRequest("POST", "http://"+portalHost+"/api/logout", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if g := do(t, h, r, overHTTPS, "Content-Type: application/json", "Cookie: "+cookie); g.status != 200 {
		t.Errorf("the logout is answered %d %s", g.status, g.body)
	}
	if g := request(t, h, "GET", "/", acceptsHTML, overHTTPS, "Cookie: "+cookie); g.status != 302 {
		t.Errorf("after the logout answered %d", g.status)
	}
}

// testAutheliaUpgrade: another protocol is behind the same door.
func testAutheliaUpgrade(t *testing.T, i *guardedInstance, address string) {
	cookie, _ := signIn(t, webClients(t, address)["HTTP/1"], "ann", "")
	for fields, want := range map[string]int{"": 401, "Cookie: " + cookie + "\r\n": 101} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\nRemote-User: root\r\n%s\r\n%s\r\n", authHost, overHTTPS, fields)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("with %q answered %s", fields, res.Status)
			continue
		}
		if want != 101 {
			continue
		}
		if hello, err := io.ReadAll(r); string(hello) != "hello" || !slices.Equal(i.last()["Remote-User"], []string{"ann"}) {
			t.Errorf("the tunnel brings %q, %v; the instance is told %q", hello, err, i.last()["Remote-User"])
		}
	}
}

// TestAutheliaForNginx: the endpoint for nginx wants fields that serai does not send, and
// that no client can send in its place: it lets nobody in.
func TestAutheliaForNginx(t *testing.T) {
	t.Parallel()
	a := newAuthelia(t, false)
	i := newGuardedInstance(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso"), a.registration()}, configOf(t, autheliaBlock("/api/authz/auth-request")), behindProxy)
	for name, h := range webClients(t, address) {
		cookie, _ := signIn(t, h, "ann", "")
		for _, fields := range [][]string{nil, {"Cookie: " + cookie}, {"X-Original-Url: https://" + authHost + "/public/x", "X-Original-Method: GET"}, {"X_Original_Url: https://" + authHost + "/public/x", "x_original_method: GET"}} {
			if g := request(t, h, "GET", "/public/x", append(fields, overHTTPS)...); g.status != 400 || g.fields.Get("X-Serai-Reason") != "auth-denied" {
				t.Errorf("%s: with %q answered %d", name, fields, g.status)
			}
		}
	}
	if i.count() > 0 {
		t.Errorf("%d requests have reached the instance", i.count())
	}
}
