package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// providerFault is how a provider answers a path, and what the operator is told of it.
type providerFault struct {
	path  string
	fault func(p *oidctest.Provider) http.HandlerFunc
	want  string
}

// metadataPath is where a provider describes itself.
const metadataPath = "/.well-known/openid-configuration"

// describes answers with what the provider says of itself, after a change.
func describes(p *oidctest.Provider, change func(m map[string]any)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/oauth/token", "jwks_uri": p.URL + "/keys",
			"userinfo_endpoint": p.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"RS256"},
		}
		change(m)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(m)
	}
}

func providerFaults() map[string]providerFault {
	const token = "/oauth/token"
	return map[string]providerFault{
		"another issuer": {metadataPath, func(p *oidctest.Provider) http.HandlerFunc {
			return describes(p, func(m map[string]any) { m["issuer"] = p.URL + "/" })
		}, "did not match the issuer"},
		"no provider": {metadataPath, func(*oidctest.Provider) http.HandlerFunc { return http.NotFound }, "it answers 404 Not Found"},
		"a page": {metadataPath, func(*oidctest.Provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>\n<b>very-secret</b>") }
		}, "its metadata, since "},
		"no endpoint": {metadataPath, func(p *oidctest.Provider) http.HandlerFunc {
			return describes(p, func(m map[string]any) { delete(m, "token_endpoint") })
		}, "an endpoint is missing, or not with https"},
		"a wrong secret": {token, func(*oidctest.Provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(401)
				io.WriteString(w, `{"error":"invalid_client","error_description":"Client authentication\r\nfailed","more":"very-secret"}`)
			}
		}, "401 Unauthorized, invalid_client: Client authentication failed"},
		"a token endpoint that fails": {token, func(*oidctest.Provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "very-secret", http.StatusBadGateway) }
		}, "502 Bad Gateway, an answer that is none of OAuth"},
		"no ID token": {token, func(*oidctest.Provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"access_token":"very-secret","token_type":"bearer"}`)
			}
		}, "there is none in the answer of its token endpoint"},
	}
}

// TestOperatorIsToldOfTheProvider: why nobody can log in stands in /ready, and not in what
// users see; it is gone when the provider is of use again.
func TestOperatorIsToldOfTheProvider(t *testing.T) {
	t.Parallel()
	for name, c := range providerFaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := oidctest.New(t, callbackURL)
			p.Fail(c.path, c.fault(p))
			i, admin := newGuardedInstance(t), testnet.Address(t)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy, "--admin="+admin)
			h := webClients(t, address)["HTTP/1"]
			var a got
			var ready string
			until(t, fmt.Sprintf("%q in /ready", c.want), func() bool { // a reload makes the auth anew, which has asked nobody yet
				if a = newBrowser(t, p, h).visit("/", "ann"); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
					t.Fatalf("answered %d %s", a.status, a.body)
				}
				var status int
				if status, ready = get(admin, "localhost", "/ready"); status != 200 {
					t.Fatalf("/ready is %d", status)
				}
				return strings.Contains(ready, "auth corp: something is wrong at its provider: ") && strings.Contains(ready, c.want)
			})
			for what, text := range map[string]string{"the user": a.body, "/ready": ready} {
				if strings.Contains(text, "very-secret") || strings.Contains(text, oidctest.ClientSecret) {
					t.Errorf("%s is told a secret: %s", what, text)
				}
			}
			if strings.Contains(a.body, "invalid_client") || strings.Contains(a.body, "endpoint") {
				t.Errorf("the user is told what is the operator's: %s", a.body)
			}
			p.Fail(c.path, nil)
			until(t, "the login", func() bool { return newBrowser(t, p, h).visit("/", "ann").status == 200 })
			if _, ready := get(admin, "localhost", "/ready"); strings.Contains(ready, "auth corp") {
				t.Errorf("/ready still says\n%s", ready)
			}
		})
	}
}

// TestUserInfoThatRefuses: some give access tokens that are good elsewhere only. What the ID
// token says is enough then, where it names the user; it is not where it does not.
func TestUserInfoThatRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		more   string
		want   int
	}{
		{401, "", 200}, {403, "", 200}, {500, "", 503}, {404, "", 503},
		{403, "    user_claim = \"preferred_username\"\n", 503}, // UserInfo alone has it
		{403, "    groups = [\"ops\"]\n", 403},                  // likewise
	} {
		t.Run(fmt.Sprint(c.status, " ", strings.TrimSpace(c.more)), func(t *testing.T) {
			t.Parallel()
			p := oidctest.New(t, callbackURL)
			i := newGuardedInstance(t)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, c.more), behindProxy)
			b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
			p.Fail("/userinfo", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) })
			if a := b.visit("/", "ann"); a.status != c.want {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if i.count() > 0 && i.last().Get("X-Forwarded-User") != "id-ann" {
				t.Errorf("the instance is told %v", i.last())
			}
		})
	}
}

// TestEndpointWithAQuery: some providers tell their tenants, or policies, apart by it.
func TestEndpointWithAQuery(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	p.Fail(metadataPath, describes(p, func(m map[string]any) {
		m["authorization_endpoint"], m["token_endpoint"] = p.URL+"/authorize?p=sign_in", p.URL+"/oauth/token?p=sign_in"
		m["end_session_endpoint"] = p.URL + "/end_session?p=sign_in"
	}))
	end := newEndOfSession(p)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp", "ingress.upstream-host=internal.example")}, loginConfig(t, p, ""), behindProxy)
	b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
	begun := b.send(b.navigation("GET", "https://"+authHost+"/", nil))
	if to, err := url.Parse(begun.fields.Get("Location")); err != nil || to.Query().Get("p") != "sign_in" || to.Query().Get("client_id") != oidctest.ClientID {
		t.Errorf("the browser is sent to %q", begun.fields.Get("Location"))
	}
	if a := b.visit("/", "ann"); a.body != "for id-ann" {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	if a := b.xhr("/"); a.status != 200 { // whatever host the instance is told
		t.Errorf("the session is answered %d", a.status)
	}
	b.follow("GET", "https://"+authHost+"/.serai/oidc/corp/logout", nil)
	if asked := end.last(); asked.Get("p") != "sign_in" || asked.Get("client_id") != oidctest.ClientID {
		t.Errorf("the end of session is asked with %v", asked)
	}
}

// TestSparseRenewals: a provider may leave out of the answer to a refresh token whatever is
// optional (RFC 6749 section 5.1, OpenID Connect Core 1.0 section 12.2): the session goes
// on with what is known.
func TestSparseRenewals(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")},
		loginConfig(t, p, "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"1s\"\n"), behindProxy)
	b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	var mu sync.Mutex
	used := make(map[string]int)
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		used[r.FormValue("refresh_token")]++
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"a"}`)
	})
	p.Fail("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"sub":"id-ann","groups":["sales"]}`)
	})
	until(t, "three renewals with the same refresh token", func() bool {
		if a := b.xhr("/"); a.body != "for id-ann" {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, n := range used {
			if n >= 3 {
				return len(used) == 1
			}
		}
		return false
	})
	if groups := i.last().Get("X-Forwarded-Groups"); groups != "sales" {
		t.Errorf("the groups are %q", groups)
	}
}
