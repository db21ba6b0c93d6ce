package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// providerCase is what a provider says, and what comes of it.
type providerCase struct {
	block    string
	claims   map[string]any
	answer   map[string]any // beside what all have
	callback url.Values
	// elsewhere says that it has its endpoints on other hosts than its issuer, and what else
	// Google's discovery document has.
	elsewhere bool
	refused   bool
	fields    map[string]string // what the instance is told
}

// providerCases are the recipes of docs/policies.md, with tokens, answers and callbacks as
// the documents of the providers show them.
func providerCases() map[string]providerCase {
	return map[string]providerCase{
		"Keycloak, groups": {
			block:    "    groups = [\"/staff\"]\n    logout_redirect = \"/\"\n",
			claims:   map[string]any{"typ": "ID", "azp": oidctest.ClientID, "sid": "1f2e", "acr": "1", "auth_time": 1, "jti": "x", "email_verified": false, "preferred_username": "ann", "groups": []string{"/staff", "/dev"}},
			answer:   map[string]any{"expires_in": 300, "refresh_expires_in": 1800, "refresh_token": "r", "token_type": "Bearer", "not-before-policy": 0, "session_state": "1f2e", "scope": "openid profile email"},
			callback: url.Values{"session_state": {"1f2e"}, "iss": {"ISSUER"}},
			fields:   map[string]string{"X-Forwarded-User": "mallory", "X-Forwarded-Groups": "/staff,/dev", "X-Forwarded-Email": ""},
		},
		"Keycloak, roles": {
			block:    "    groups_claim = \"realm_access.roles\"\n    groups = [\"staff\"]\n    user_claim = \"preferred_username\"\n",
			claims:   map[string]any{"typ": "ID", "azp": oidctest.ClientID, "aud": []string{oidctest.ClientID, "account"}, "sid": "1f2e", "email_verified": true, "preferred_username": "ann", "realm_access": map[string]any{"roles": []string{"staff", "offline_access"}}, "groups": nil},
			callback: url.Values{"session_state": {"1f2e"}, "iss": {"ISSUER"}},
			fields:   map[string]string{"X-Forwarded-User": "ann", "X-Forwarded-Groups": "staff,offline_access", "X-Forwarded-Email": "m@example.org"},
		},
		"Keycloak, no mapper": {
			block: "    groups = [\"staff\"]\n", claims: map[string]any{"typ": "ID", "azp": oidctest.ClientID, "groups": nil, "sub": "ann"}, refused: true,
		},
		"Google": {
			elsewhere: true,
			block:     "    groups_claim = \"hd\"\n    groups = [\"example.org\"]\n",
			claims:    map[string]any{"azp": oidctest.ClientID, "hd": "example.org", "email_verified": true, "groups": nil},
			answer:    map[string]any{"expires_in": 3599, "scope": "openid https://www.googleapis.com/auth/userinfo.email", "token_type": "Bearer"},
			callback:  url.Values{"scope": {"email openid"}, "authuser": {"0"}, "hd": {"example.org"}, "prompt": {"consent"}},
			fields:    map[string]string{"X-Forwarded-User": "mallory", "X-Forwarded-Groups": "example.org", "X-Forwarded-Email": "m@example.org"},
		},
		"Google, an account of nobody's organization": {
			block: "    groups_claim = \"hd\"\n    groups = [\"example.org\"]\n", claims: map[string]any{"azp": oidctest.ClientID, "email_verified": true, "email": "m@example.org", "sub": "ann"}, refused: true,
		},
		"Google, of another": {
			block: "    groups_claim = \"hd\"\n    groups = [\"example.org\"]\n", claims: map[string]any{"azp": oidctest.ClientID, "hd": "evil.example", "email_verified": true}, refused: true,
		},
		"Entra": {
			block:    "    groups = [\"7f3c6e0a-0000-4000-8000-000000000001\"]\n    user_claim = \"preferred_username\"\n",
			claims:   map[string]any{"ver": "2.0", "tid": "t", "oid": "o", "preferred_username": "ann@example.org", "groups": []string{"7f3c6e0a-0000-4000-8000-000000000001"}, "rh": "x", "uti": "y"},
			answer:   map[string]any{"token_type": "Bearer", "ext_expires_in": 4799, "expires_in": 4799, "scope": "openid profile email"},
			callback: url.Values{"session_state": {"x"}},
			fields:   map[string]string{"X-Forwarded-User": "ann@example.org"},
		},
		"Entra, more groups than it tells": {
			block:   "    groups = [\"7f3c6e0a-0000-4000-8000-000000000001\"]\n",
			claims:  map[string]any{"ver": "2.0", "sub": "ann", "groups": nil, "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/users/o/getMemberObjects"}}},
			refused: true,
		},
		"Auth0, a claim with dots": {
			block:  "    groups_claim = \"https://example.org/roles\"\n    groups = [\"staff\"]\n",
			claims: map[string]any{"sid": "x", "nickname": "ann", "email_verified": true, "https://example.org/roles": []string{"staff"}},
			answer: map[string]any{"scope": "openid profile email", "expires_in": 86400, "token_type": "Bearer"},
			fields: map[string]string{"X-Forwarded-Groups": "staff"},
		},
		"Cognito": {
			block:  "    groups_claim = \"cognito:groups\"\n    user_claim = \"cognito:username\"\n    groups = [\"staff\"]\n",
			claims: map[string]any{"token_use": "id", "cognito:groups": []string{"staff"}, "cognito:username": "ann", "email_verified": true, "origin_jti": "x", "event_id": "y"},
			fields: map[string]string{"X-Forwarded-User": "ann", "X-Forwarded-Groups": "staff"},
		},
	}
}

// TestTokensOfProviders: each recipe lets in whom it should, and tells the instance who it
// is. The test's own provider stands in for them: none of these programs runs here.
func TestTokensOfProviders(t *testing.T) {
	t.Parallel()
	for name, c := range providerCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, c.block), behindProxy)
			if c.elsewhere {
				p.Fail(metadataPath, describes(p, likeGoogle(t, p)))
			}
			h := newTokens(t, p)
			p.Fail("/userinfo", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				sub := "mallory"
				if c.claims["sub"] != nil {
					sub = c.claims["sub"].(string)
				}
				fmt.Fprintf(w, `{"sub": %q}`, sub)
			})
			h.answer = func(nonce string) (int, string, string) {
				sum := sha256.Sum256([]byte("an-access-token"))
				claims := h.claims(nonce, c.claims)
				claims["at_hash"] = b64(sum[:16])
				answer := map[string]any{"access_token": "an-access-token", "id_token": h.signed(map[string]any{"alg": "RS256", "typ": "JWT", "kid": "k"}, claims)}
				for name, value := range c.answer {
					answer[name] = value
				}
				body, _ := json.Marshal(answer)
				return 200, "application/json;charset=UTF-8", string(body)
			}
			b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
			begun := b.send(b.navigation("GET", "https://"+authHost+"/x", nil))
			to, err := url.Parse(begun.fields.Get("Location"))
			if err != nil || begun.status != 302 {
				t.Fatalf("answered %d %s", begun.status, begun.body)
			}
			h.nonce = to.Query().Get("nonce")
			back := url.Values{"code": {"c"}, "state": {to.Query().Get("state")}}
			for name, values := range c.callback {
				if values[0] == "ISSUER" {
					values = []string{p.URL}
				}
				back[name] = values
			}
			a := b.follow("GET", callbackURL+"?"+back.Encode(), nil)
			if want := map[bool]int{false: 200, true: 403}[c.refused]; a.status != want || c.refused && i.count() > 0 {
				t.Fatalf("answered %d %s; %d requests have reached the instance", a.status, a.body, i.count())
			}
			for field, want := range c.fields {
				if got := i.last().Get(field); got != want {
					t.Errorf("the instance is told %s: %q, want %q", field, got, want)
				}
			}
		})
	}
}

// likeGoogle describes a provider with the fields of Google's discovery document, whose endpoints are
// on several hosts, and which has no end of session.
func likeGoogle(t *testing.T, p *oidctest.Provider) func(m map[string]any) {
	t.Helper()
	at, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	elsewhere := httptest.NewTLSServer(proxy)
	proxy.Transport = elsewhere.Client().Transport
	t.Cleanup(elsewhere.Close)
	return func(m map[string]any) {
		m["device_authorization_endpoint"] = elsewhere.URL + "/device/code"
		m["token_endpoint"], m["userinfo_endpoint"] = elsewhere.URL+"/oauth/token", elsewhere.URL+"/userinfo"
		m["revocation_endpoint"], m["jwks_uri"] = elsewhere.URL+"/revoke", elsewhere.URL+"/keys"
		m["response_types_supported"] = []string{"code", "token", "id_token", "code token", "code id_token", "token id_token", "code token id_token", "none"}
		m["response_modes_supported"] = []string{"query", "fragment", "form_post"}
		m["subject_types_supported"] = []string{"public"}
		m["scopes_supported"] = []string{"openid", "email", "profile"}
		m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post", "client_secret_basic"}
		m["claims_supported"] = []string{"aud", "email", "email_verified", "exp", "family_name", "given_name", "iat", "iss", "name", "picture", "sub"}
		m["code_challenge_methods_supported"] = []string{"plain", "S256"}
		m["grant_types_supported"] = []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"}
	}
}
