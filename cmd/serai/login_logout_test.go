package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// endOfSession notes what a provider's end of session is asked. As Ory Hydra and others do,
// it sends nobody back who shows no ID token.
type endOfSession struct {
	mu    sync.Mutex
	asked url.Values
}

func newEndOfSession(p *oidctest.Provider) *endOfSession {
	e := &endOfSession{}
	p.Fail("/end_session", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		e.mu.Lock()
		e.asked = query
		e.mu.Unlock()
		back := query.Get("post_logout_redirect_uri")
		switch {
		case back != "" && query.Get("id_token_hint") == "":
			http.Error(w, "post_logout_redirect_uri is set, and id_token_hint is missing", http.StatusBadRequest)
		case back != "":
			http.Redirect(w, r, back, http.StatusFound)
		}
	})
	return e
}

func (e *endOfSession) last() url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

// subjectOf is the user of an ID token, empty for what is none.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var said struct{ Sub string }
	json.Unmarshal(text, &said)
	return said.Sub
}

// TestLogoutShowsAnIDToken: the provider's end of session is told whose it is, where there
// is a refresh token to ask with; whatever comes of that, the user is logged out here and
// no refresh token stays good.
func TestLogoutShowsAnIDToken(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		scopes  string
		token   http.HandlerFunc // of the logout
		hint    string
		status  int // where the browser ends
		revoked int
	}{
		"with a refresh token":         {`"offline_access"`, nil, "id-ann", 200, 1},
		"without":                      {`"email"`, nil, "", 400, 0},
		"refused":                      {`"offline_access"`, answer(400, `{"error":"invalid_grant"}`), "", 400, 1},
		"the token endpoint is away":   {`"offline_access"`, answer(500, ""), "", 400, 1},
		"an answer without ID token":   {`"offline_access"`, answer(200, `{"access_token":"a"}`), "", 400, 1},
		"an ID token too long to show": {`"offline_access"`, answer(200, `{"access_token":"a","id_token":"`+strings.Repeat("x", 5000)+`"}`), "", 400, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := oidctest.New(t, callbackURL, "https://"+authHost+"/bye")
			end := newEndOfSession(p)
			i := newGuardedInstance(t)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp", "ingress.bye.host="+authHost, "ingress.bye.path-exact=/bye")},
				loginConfig(t, p, "    scopes = ["+c.scopes+"]\n    logout_redirect = \"/bye\"\n"), behindProxy)
			b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
			if a := b.visit("/", "ann"); a.status != 200 {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			thief := b.copy(b.to)
			if c.token != nil {
				p.Fail("/oauth/token", c.token)
			}
			a := b.follow("GET", "https://"+authHost+"/.serai/oidc/corp/logout", nil)
			if a.status != c.status || len(b.cookies()) != 0 {
				t.Errorf("the logout ends with %d %s at %s, cookies %q", a.status, a.body, b.at(), b.cookies())
			}
			asked := end.last()
			if asked.Get("client_id") != oidctest.ClientID || asked.Get("post_logout_redirect_uri") != "https://"+authHost+"/bye" || subjectOf(asked.Get("id_token_hint")) != c.hint || c.hint == "" && asked.Has("id_token_hint") {
				t.Errorf("the end of session is asked with %v", asked)
			}
			if n := p.Asked("/revoke"); n != c.revoked {
				t.Errorf("tokens were revoked %d times", n)
			}
			if a := thief.xhr("/"); a.status != 401 {
				t.Errorf("a copy of the cookie is answered %d", a.status)
			}
		})
	}
}

// TestLogoutRemovesCookies: what removes a cookie has the attributes that browsers demand
// of a name with __Host-: they ignore it otherwise, and keep the cookie.
func TestLogoutRemovesCookies(t *testing.T) {
	t.Parallel()
	_, p, h := serveLogins(t)
	b := newBrowser(t, p, h)
	var many []string
	for n := range 200 {
		many = append(many, fmt.Sprintf("a-group-with-a-long-name-%04d", n))
	}
	p.SetGroups("ann", many...)
	b.send(b.navigation("GET", "https://"+authHost+"/", nil)) // a login that is left under way
	b.visit("/", "ann")
	had := b.cookies()
	b.fields.Set("Sec-Fetch-Site", "same-origin")
	a := b.send(b.navigation("POST", "https://"+authHost+"/.serai/oidc/corp/logout", nil))
	if len(had) < 3 {
		t.Fatalf("there are only %d cookies, the logout is answered %d", len(had), a.status)
	}
	for _, c := range had {
		removed := false
		for _, line := range a.fields["Set-Cookie"] {
			if strings.HasPrefix(line, c.Name+"=;") {
				removed = strings.Contains(line, "; Path=/;") && strings.Contains(line, "; Max-Age=0;") && strings.Contains(line, "; Secure") && !strings.Contains(line, "Domain")
			}
		}
		if !removed {
			t.Errorf("%s is not removed by %q", c.Name, a.fields["Set-Cookie"])
		}
	}
}
