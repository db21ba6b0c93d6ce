package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"serai/nomad"
)

// authentik stands in for Authentik's outpost, which cannot run here: it answers the
// endpoint for Traefik as internal/outpost/proxyv2/application/mode_forward.go and oauth.go
// of goauthentik/authentik do, for a provider of the kind "forward auth (single
// application)" of the guarded host. Its user is ann.
type authentik struct {
	*httptest.Server
	mu sync.Mutex
	// begun are the logins under way, by their state, with where they lead back to.
	begun    map[string]string
	sessions map[string]bool
}

const (
	authentikPrefix    = "/outpost.goauthentik.io"
	authentikCookie    = "authentik_proxy_0123"
	authentikAuthorize = "https://" + portalHost + "/application/o/authorize/"
)

func newAuthentik(t *testing.T) *authentik {
	t.Helper()
	a := &authentik{begun: make(map[string]string), sessions: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc(authentikPrefix+"/auth/traefik", a.auth)
	mux.HandleFunc(authentikPrefix+"/start", func(w http.ResponseWriter, r *http.Request) { a.start(w, r, r.URL.Query().Get("rd")) })
	mux.HandleFunc(authentikPrefix+"/callback", func(w http.ResponseWriter, r *http.Request) { a.callback(w, r, r.URL.Query()) })
	mux.HandleFunc(authentikPrefix+"/sign_out", a.signOut)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// It finds the application by the host that the browser has asked.
		if host := r.Header.Get("X-Forwarded-Host"); host != authHost {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"Message": "no app for hostname", "Host": %q}`, host)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *authentik) registration(tags ...string) nomad.Registration {
	at := a.Listener.Addr().(*net.TCPAddr)
	return nomad.Registration{ID: "authentik", ServiceName: "authentik", Namespace: "default", Address: at.IP.String(), Port: at.Port, Tags: tags}
}

// auth is forwardHandleTraefik.
func (a *authentik) auth(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	asked, err := url.Parse(h.Get("X-Forwarded-Proto") + "://" + h.Get("X-Forwarded-Host") + h.Get("X-Forwarded-Uri"))
	if err != nil {
		http.Error(w, "configuration error", http.StatusInternalServerError)
		return
	}
	if strings.EqualFold(asked.Query().Get("X-authentik-auth-callback"), "true") {
		a.callback(w, r, asked.Query())
		return
	}
	if a.knows(r) {
		for name, value := range map[string]string{
			"X-authentik-username": "ann", "X-authentik-groups": "dev|ops", "X-authentik-entitlements": "", "X-authentik-email": "ann@example.org", "X-authentik-name": "Ann",
			"X-authentik-uid": "0123", "X-authentik-jwt": "a.b.c", "X-authentik-meta-app": "app", "User-Agent": h.Get("User-Agent"),
		} {
			w.Header().Set(name, value)
		}
		return
	}
	if strings.HasPrefix(asked.Path, "/skip") { // an unauthenticated path of the provider
		return
	}
	a.start(w, r, asked.String())
}

func (a *authentik) knows(r *http.Request) bool {
	c, err := r.Cookie(authentikCookie)
	a.mu.Lock()
	defer a.mu.Unlock()
	return err == nil && a.sessions[c.Value]
}

func (a *authentik) start(w http.ResponseWriter, r *http.Request, back string) {
	a.mu.Lock()
	state := fmt.Sprint("state", len(a.begun))
	a.begun[state] = back
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: authentikCookie, Value: "new-" + state, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, authentikAuthorize+"?"+url.Values{
		"client_id": {"x"}, "response_type": {"code"}, "state": {state},
		"redirect_uri": {"https://" + r.Header.Get("X-Forwarded-Host") + authentikPrefix + "/callback?X-authentik-auth-callback=true"},
	}.Encode(), http.StatusFound)
}

func (a *authentik) callback(w http.ResponseWriter, r *http.Request, query url.Values) {
	c, err := r.Cookie(authentikCookie)
	a.mu.Lock()
	defer a.mu.Unlock()
	back, ok := a.begun[query.Get("state")]
	if err != nil || !ok || c.Value != "new-"+query.Get("state") || query.Get("code") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	delete(a.begun, query.Get("state"))
	a.sessions["in-"+query.Get("state")] = true
	http.SetCookie(w, &http.Cookie{Name: authentikCookie, Value: "in-" + query.Get("state"), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, back, http.StatusFound)
}

func (a *authentik) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(authentikCookie); err == nil {
		a.mu.Lock()
		delete(a.sessions, c.Value)
		a.mu.Unlock()
	}
	http.Redirect(w, r, "https://"+portalHost+"/application/o/app/end-session/", http.StatusFound)
}

const authentikBlock = `auth "sso" {
  forward {
    service = "authentik"
    path    = "/outpost.goauthentik.io/auth/traefik"
    copy    = ["X-authentik-username", "X-authentik-groups", "X-authentik-email", "X-authentik-name", "X-authentik-uid"]
  }
}
`

// TestAuthentik: the recipe of docs/policies.md with a stand-in, whose paths are reached on
// the guarded host by a route of their own, or through the auth itself.
func TestAuthentik(t *testing.T) {
	t.Parallel()
	for name, tags := range map[string][]string{
		"with a route for its paths":  {"ingress.host=" + portalHost, "ingress.outpost.host=" + authHost, "ingress.outpost.path=" + authentikPrefix},
		"with its own host as a rule": {"ingress.host=" + portalHost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, a := newGuardedInstance(t), newAuthentik(t)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso"), a.registration(tags...)}, configOf(t, authentikBlock), behindProxy)
			for name, h := range webClients(t, address) {
				t.Run(name, func(t *testing.T) { testAuthentik(t, i, h, len(tags) > 1) })
			}
		})
	}
}

func testAuthentik(t *testing.T, i *guardedInstance, h *http.Client, routed bool) {
	reached := i.count()
	for _, host := range []string{authHost, "APP.example.org.", authHost + "."} {
		r, err := http.NewRequest("GET", "http://"+authHost+"/x?y=z", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if g := do(t, h, r, overHTTPS, acceptsHTML); g.status != 302 || !strings.HasPrefix(g.fields.Get("Location"), authentikAuthorize) {
			t.Errorf("%s: answered %d %s", host, g.status, g.body)
		}
	}
	begun := request(t, h, "GET", "/x?y=z", overHTTPS, acceptsHTML, "X-Authentik-Username: root")
	to, err := url.Parse(begun.fields.Get("Location"))
	if err != nil || begun.status != 302 || begun.fields.Get("X-Serai-Reason") != "auth-denied" {
		t.Fatalf("answered %d with %v", begun.status, begun.fields)
	}
	back, err := url.Parse(to.Query().Get("redirect_uri"))
	if err != nil || back.Host != authHost || !strings.HasPrefix(back.Path, authentikPrefix+"/callback") {
		t.Fatalf("the browser comes back to %q", to.Query().Get("redirect_uri"))
	}
	cookie, _, _ := strings.Cut(begun.fields.Get("Set-Cookie"), ";")
	callback := back.Path + "?" + back.RawQuery + "&code=c&state=" + to.Query().Get("state")
	if g := request(t, h, "GET", callback, overHTTPS); g.status != 400 {
		t.Errorf("a callback of another browser: answered %d", g.status)
	}
	in := request(t, h, "GET", callback, overHTTPS, "Cookie: "+cookie)
	if in.status != 302 || in.fields.Get("Location") != "https://"+authHost+"/x?y=z" || i.count() != reached {
		t.Fatalf("the callback is answered %d to %q; %d requests have reached the instance", in.status, in.fields.Get("Location"), i.count()-reached)
	}
	cookie, _, _ = strings.Cut(in.fields.Get("Set-Cookie"), ";")
	g := request(t, h, "POST", "/x?y=z", overHTTPS, "Cookie: "+cookie, "X-authentik-username: root", "X_authentik_groups: admins", "x-authentik-jwt: forged", "X-authentik-uid: 0")
	if g.status != 200 {
		t.Fatalf("with a session answered %d %s", g.status, g.body)
	}
	seen := i.last()
	for field, want := range map[string]string{"X-Authentik-Username": "ann", "X-Authentik-Groups": "dev|ops", "X-Authentik-Email": "ann@example.org", "X-Authentik-Name": "Ann", "X-Authentik-Uid": "0123"} {
		if !slices.Equal(seen[field], []string{want}) {
			t.Errorf("the instance is told %s: %q, want %q", field, seen[field], want)
		}
	}
	if seen["X_authentik_groups"] != nil {
		t.Errorf("the instance gets the client's X_authentik_groups: %q", seen["X_authentik_groups"])
	}
	if g := request(t, h, "GET", "/skip/x", overHTTPS, "X-authentik-username: root"); g.status != 200 || i.last().Get("X-Authentik-Username") != "" {
		t.Errorf("an open path: answered %d, the instance is told %q", g.status, i.last().Get("X-Authentik-Username"))
	}
	if !routed {
		return
	}
	if g := request(t, h, "GET", authentikPrefix+"/sign_out", overHTTPS, "Cookie: "+cookie); g.status != 302 || g.fields.Get("X-Serai-Reason") != "" {
		t.Errorf("the logout is answered %d with %v", g.status, g.fields)
	}
	if g := request(t, h, "GET", "/x", overHTTPS, acceptsHTML, "Cookie: "+cookie); g.status != 302 {
		t.Errorf("after the logout answered %d", g.status)
	}
}
