package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// tokens makes what a hostile, or a broken, token endpoint may answer.
type tokens struct {
	t   *testing.T
	p   *oidctest.Provider
	key *rsa.PrivateKey
	// answer is what the endpoint says next.
	answer func(nonce string) (status int, contentType, body string)
	nonce  string
}

func b64(v any) string {
	text, ok := v.([]byte)
	if !ok {
		text, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// signed is a JWT with RS256 and the key that the provider shows.
func (h *tokens) signed(header, claims map[string]any) string {
	text := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, h.key, crypto.SHA256, sum[:])
	if err != nil {
		h.t.Fatal(err)
	}
	return text + "." + b64(signature)
}

// claims are those of a token that is right, with some changed; nil removes one.
func (h *tokens) claims(nonce string, changed map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": h.p.URL, "sub": "mallory", "aud": oidctest.ClientID, "exp": now + 300, "iat": now, "nonce": nonce, "email": "m@example.org", "groups": []string{"x"}}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func newTokens(t *testing.T, p *oidctest.Provider) *tokens {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := &tokens{t: t, p: p, key: key}
	p.Fail("/keys", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "use": "sig", "kid": "k", "alg": "RS256", "n": b64(key.N.Bytes()), "e": "AQAB",
		}}})
	})
	p.Fail("/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		status, contentType, body := h.answer(h.nonce)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	p.Fail("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"sub":"ann","groups":["admins"]}`)
	})
	return h
}

// login goes through a login, in which the endpoint gives an ID token.
func (h *tokens) login(client *http.Client, answer func(nonce string) (int, string, string)) (got, *browser) {
	h.t.Helper()
	h.answer = answer
	b := newBrowser(h.t, h.p, client)
	begun := b.send(b.navigation("GET", "https://"+authHost+"/", nil))
	to, err := url.Parse(begun.fields.Get("Location"))
	if err != nil || begun.status != 302 {
		h.t.Fatalf("answered %d %s", begun.status, begun.body)
	}
	h.nonce = to.Query().Get("nonce")
	return b.send(b.navigation("GET", callbackURL+"?code=c&state="+to.Query().Get("state"), nil)), b
}

// TestHostileTokens: an ID token that is not signed by the provider, for this client, this
// login and this moment lets nobody in, and neither does an answer that is none.
func TestHostileTokens(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	client := webClients(t, address)["HTTP/1"]
	h := newTokens(t, p)
	header := map[string]any{"alg": "RS256", "kid": "k"}
	with := func(id func(nonce string) string) func(string) (int, string, string) {
		return func(nonce string) (int, string, string) {
			body, _ := json.Marshal(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": id(nonce)})
			return 200, "application/json", string(body)
		}
	}
	changed := func(c map[string]any) func(string) (int, string, string) {
		return with(func(nonce string) string { return h.signed(header, h.claims(nonce, c)) })
	}
	// What is right is let in, so that the others fail for their own reason.
	if a, b := h.login(client, changed(nil)); a.status != 302 || b.xhr("/").body != "for mallory" {
		t.Fatalf("a token that is right: %d %s", a.status, a.body)
	}
	if a, b := h.login(client, changed(map[string]any{"aud": []string{"x", oidctest.ClientID}, "azp": oidctest.ClientID})); a.status != 302 || b.xhr("/").body != "for mallory" {
		t.Fatalf("two audiences: %d %s", a.status, a.body)
	}
	before := i.count()
	now := time.Now().Unix()
	elliptical, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	alien, _ := rsa.GenerateKey(rand.Reader, 2048)
	hs := func(alg string, secret []byte) func(string) string {
		return func(nonce string) string {
			text := b64(map[string]any{"alg": alg, "kid": "k"}) + "." + b64(h.claims(nonce, nil))
			m := hmac.New(sha256.New, secret)
			m.Write([]byte(text))
			return text + "." + b64(m.Sum(nil))
		}
	}
	for name, answer := range map[string]func(string) (int, string, string){
		"another nonce":            changed(map[string]any{"nonce": "x"}),
		"no nonce":                 changed(map[string]any{"nonce": nil}),
		"a nonce that is a number": changed(map[string]any{"nonce": 1}),
		"another issuer":           changed(map[string]any{"iss": "https://evil.example"}),
		"an issuer with a slash":   changed(map[string]any{"iss": p.URL + "/"}),
		"no issuer":                changed(map[string]any{"iss": nil}),
		"another audience":         changed(map[string]any{"aud": "x"}),
		"no audience":              changed(map[string]any{"aud": nil}),
		"two audiences, no azp":    changed(map[string]any{"aud": []string{oidctest.ClientID, "x"}}),
		"another azp":              changed(map[string]any{"azp": "x"}),
		"an azp that is a list":    changed(map[string]any{"azp": []string{oidctest.ClientID}}),
		"expired":                  changed(map[string]any{"exp": now - 3600}),
		"no expiry":                changed(map[string]any{"exp": nil}),
		"from the future":          changed(map[string]any{"iat": now + 3600}),
		"not yet":                  changed(map[string]any{"nbf": now + 3600}),
		"no subject":               changed(map[string]any{"sub": nil}),
		"a long subject":           changed(map[string]any{"sub": strings.Repeat("a", 2000)}),
		"a subject of two lines":   changed(map[string]any{"sub": "a\r\nX-Forwarded-Groups: admins"}),
		"another access token":     changed(map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
		"alg none": with(func(nonce string) string {
			return b64(map[string]any{"alg": "none"}) + "." + b64(h.claims(nonce, nil)) + "."
		}),
		"alg none, signed": with(func(nonce string) string {
			return h.signed(map[string]any{"alg": "none", "kid": "k"}, h.claims(nonce, nil))
		}),
		"HS256 with the client's secret": with(hs("HS256", []byte(oidctest.ClientSecret))),
		"HS256 with the public key":      with(hs("HS256", h.key.N.Bytes())),
		"a key in its own head": with(func(nonce string) string {
			key := map[string]any{"kty": "RSA", "n": b64(alien.N.Bytes()), "e": "AQAB"}
			text := b64(map[string]any{"alg": "RS256", "jwk": key}) + "." + b64(h.claims(nonce, nil))
			sum := sha256.Sum256([]byte(text))
			signature, _ := rsa.SignPKCS1v15(rand.Reader, alien, crypto.SHA256, sum[:])
			return text + "." + b64(signature)
		}),
		"an unknown key": with(func(nonce string) string {
			return h.signed(map[string]any{"alg": "RS256", "kid": "../../etc/passwd"}, h.claims(nonce, nil)) + "x"
		}),
		"another kind of key": with(func(nonce string) string {
			text := b64(map[string]any{"alg": "ES256", "kid": "k"}) + "." + b64(h.claims(nonce, nil))
			sum := sha256.Sum256([]byte(text))
			signature, _ := ecdsa.SignASN1(rand.Reader, elliptical, sum[:])
			return text + "." + b64(signature)
		}),
		"a changed payload": with(func(nonce string) string {
			parts := strings.Split(h.signed(header, h.claims(nonce, nil)), ".")
			return parts[0] + "." + b64(h.claims(nonce, map[string]any{"sub": "root"})) + "." + parts[2]
		}),
		"no token":           with(func(string) string { return "" }),
		"no JWT":             with(func(string) string { return "a.b" }),
		"dots":               with(func(string) string { return strings.Repeat(".", 100_000) }),
		"a huge token":       with(func(string) string { return strings.Repeat("A", 2<<20) }),
		"no ID token":        func(string) (int, string, string) { return 200, "application/json", `{"access_token":"a"}` },
		"no JSON":            func(string) (int, string, string) { return 200, "application/json", `<html>` },
		"a form":             func(string) (int, string, string) { return 200, "application/x-www-form-urlencoded", "access_token=a" },
		"no content":         func(string) (int, string, string) { return 204, "", "" },
		"without end":        func(string) (int, string, string) { return 200, "application/json", strings.Repeat(" ", 3<<20) + "{}" },
		"an error, 200":      func(string) (int, string, string) { return 200, "application/json", `{"error":"invalid_grant"}` },
		"an error":           func(string) (int, string, string) { return 500, "text/plain", "secret-of-the-provider" },
		"a redirect":         func(string) (int, string, string) { return 307, "text/plain", "" },
		"about another user": changed(map[string]any{"groups": nil}), // UserInfo speaks of ann
	} {
		a, b := h.login(client, answer)
		if a.status != 403 && a.status != 503 || b.cookie("__Host-serai-corp") != "" || strings.Contains(a.body, "secret-of") {
			t.Errorf("%s: answered %d %s, with %q", name, a.status, a.body, a.fields["Set-Cookie"])
		}
		if reason := a.fields.Get("X-Serai-Reason"); reason != "auth-denied" && reason != "auth-unavailable" {
			t.Errorf("%s: the reason is %q", name, reason)
		}
	}
	if i.count() != before {
		t.Error("a request reached the instance")
	}
}

// TestHostileMetadata: a provider that is not the issuer, or names endpoints that nobody
// should be sent to, is none.
func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	for name, change := range map[string]func(p *oidctest.Provider, m map[string]any){
		"another issuer": func(p *oidctest.Provider, m map[string]any) { m["issuer"] = "https://evil.example" },
		"no endpoint":    func(p *oidctest.Provider, m map[string]any) { delete(m, "token_endpoint") },
		"plain http":     func(p *oidctest.Provider, m map[string]any) { m["token_endpoint"] = "http://evil.example/token" },
		"a script":       func(p *oidctest.Provider, m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"two lines": func(p *oidctest.Provider, m map[string]any) {
			m["authorization_endpoint"] = "https://a.example/\r\nX: y"
		},
		"keys over plain http":  func(p *oidctest.Provider, m map[string]any) { m["jwks_uri"] = "http://evil.example/keys" },
		"an endpoint in a list": func(p *oidctest.Provider, m map[string]any) { m["jwks_uri"] = []string{p.URL + "/keys"} },
		"too long":              func(p *oidctest.Provider, m map[string]any) { m["more"] = strings.Repeat("x", 2<<20) },
	} {
		p := oidctest.New(t, callbackURL)
		p.Fail(metadataPath, describes(p, func(m map[string]any) { change(p, m) }))
		_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
		b := newBrowser(t, p, webClients(t, address)["HTTP/1"])
		if a := b.send(b.navigation("GET", "https://"+authHost+"/", nil)); a.status != 503 || a.fields.Get("Location") != "" {
			t.Errorf("%s: answered %d to %q", name, a.status, a.fields.Get("Location"))
		}
	}
}

// TestLoginBlocks: what is wrong in a block is told where it stands, and without secrets.
func TestLoginBlocks(t *testing.T) {
	secret, keys := secretFile(t, "secret", "very-secret"), secretFile(t, "keys", newCookieKey())
	short, empty := secretFile(t, "short", "c2VjcmV0LWtleQ==\n"), secretFile(t, "empty", " \n")
	const good = "issuer = \"https://id.example.org\"\nclient_id = \"serai\"\n"
	files := fmt.Sprintf("client_secret_file = %q\ncookie_key_file = %q\n", secret, keys)
	for _, c := range []struct{ text, want string }{
		{"", "issuer is missing"},
		{good, "client_secret_file or client_secret_variable is missing"},
		{good + files + "client_secret_variable = \"serai/auth/corp\"\n", "and client_secret_file are both set"},
		{good + fmt.Sprintf("client_secret_variable = \"serai/auth/x y\"\ncookie_key_file = %q\n", keys), "is not the path of a variable"},
		{good + fmt.Sprintf("client_secret_file = %q\n", secret), "cookie_key_file or cookie_key_variable is missing"},
		{good + fmt.Sprintf("client_secret_file = %q\ncookie_key_file = %q\n", secret, short), "serai.hcl:6,19-"},
		{good + fmt.Sprintf("client_secret_file = %q\ncookie_key_file = %q\n", secret, short), "line 1 is not 32 bytes"},
		{good + fmt.Sprintf("client_secret_file = %q\ncookie_key_file = %q\n", secret, empty), "there is no key in it"},
		{good + fmt.Sprintf("client_secret_file = %q\ncookie_key_file = %q\n", empty, keys), "there is no secret in it"},
		{good + fmt.Sprintf("client_secret_file = \"/nowhere/x\"\ncookie_key_file = %q\n", keys), "no such file"},
		{good + files + fmt.Sprintf("ca_file = %q\n", secret), "there is no certificate in it"},
		{strings.Replace(good, "https:", "http:", 1) + files, "serai.hcl:3,10-"},
		{strings.Replace(good, "https:", "http:", 1) + files, "issuer is plain http"},
		{strings.Replace(good, "https://", "https://u:very-secret@", 1) + files, "user or a password"},
		{strings.Replace(good, "https://id.example.org", "id.example.org", 1) + files, "issuer is not a URL"},
		{strings.Replace(good, "example.org", "example.org?x=y", 1) + files, "issuer is not a URL"},
		{good + files + "issuers = \"x\"\n", `did you mean "issuer"?`},
		{good + files + "groups = []\n", "serai.hcl:7,10-"},
		{good + files + "groups = [\"\"]\n", "groups a name is empty"},
		{good + files + "scopes = [\"a b\"]\n", "is no scope"},
		{good + files + "parameters = [\"state=x\"]\n", "serai.hcl:7,14-"},
		{good + files + "parameters = [\"prompt\"]\n", "NAME=VALUE"},
		{good + files + "user_field = \"Host\"\n", "serai.hcl:7,14-"},
		{good + files + "groups_field = \"X_Forwarded_User\"\n", "groups_field"},
		{good + files + "email_field = \"x-forwarded-user\"\n", "something else, too"},
		{good + files + "callback_path = \"callback\"\n", "begins with a slash"},
		{good + files + "callback_path = \"/a/../b\"\n", "callback_path"},
		{good + files + "callback_path = \"/a//b\"\n", "callback_path"},
		{good + files + "callback_path = \"/\"\n", "callback_path"},
		{good + files + "callback_path = \"/a\"\nlogout_path = \"/a\"\n", "callback_path, too"},
		{good + files + "logout_redirect = \"//evil.example\"\n", "serai.hcl:7,19-"},
		{good + files + "logout_redirect = \"javascript:alert(1)\"\n", "logout_redirect"},
		{good + files + "logout_redirect = \"http://a.example\"\n", "logout_redirect"},
		{good + files + "lifetime = \"1000h\"\n", "lifetime is not between"},
		{good + files + "renew = \"20h\"\n", "renew is not between"},
		{good + files + "renew = \"soon\"\n", "renew wants a duration"},
		{good + files + "stale = \"20h\"\n", "stale is not between"},
		{good + files + "timeout = \"2m\"\n", "timeout is not between"},
		{good + files + "max_inflight = 0\n", "at least 1"},
		{good + files + "insecure = \"yes\"\n", "insecure wants true or false"},
		{good + files + "more {\n}\n", "attributes only"},
		{good + files + "}\n}\nauth \"other\" {\noidc {\n" + good + files + "callback_path = \"/.serai/oidc/corp/callback\"\n", "answers /.serai/oidc/corp/callback, too"},
	} {
		path := strings.TrimPrefix(configOf(t, "auth \"corp\" {\noidc {\n"+c.text+"}\n}\n"), "--config=")
		_, err := readConfig(path, nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "very-secret") || !strings.Contains(err.Error(), "serai.hcl:") {
			t.Errorf("%s\n%v\nwant %q", c.text, err, c.want)
		}
	}
	for _, text := range []string{
		good + files,
		good + files + "scopes = [\"offline_access\"]\ngroups = [\"a\", \"b c\"]\nparameters = [\"prompt=consent\", \"hd=example.org\"]\nlogout_redirect = \"/bye?x=y\"\n",
		good + files + "callback_path = \"/oauth2/callback\"\nlogout_path = \"/oauth2/sign_out\"\nlogout_redirect = \"https://www.example.org/\"\nlifetime = \"720h\"\nrenew = \"1h\"\n",
		strings.Replace(good, "https:", "http:", 1) + files + "insecure = true\nlifetime = \"5m\"\n",
	} {
		path := strings.TrimPrefix(configOf(t, "auth \"corp\" {\noidc {\n"+text+"}\n}\n"), "--config=")
		if _, err := readConfig(path, nil, nil); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

// TestLoginRecipes reads the blocks of docs/policies.md.
func TestLoginRecipes(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	secret, keys := secretFile(t, "secret", "very-secret"), secretFile(t, "keys", newCookieKey())
	files := regexp.MustCompile(`"/etc/serai/[a-z-]*"`)
	blocks := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if !strings.HasPrefix(block, "    auth \"") || !strings.Contains(block, "      oidc {\n") {
			continue
		}
		blocks++
		block = files.ReplaceAllStringFunc(block, func(name string) string {
			if strings.Contains(name, "keys") {
				return strconv.Quote(keys)
			}
			return strconv.Quote(secret)
		})
		if _, err := readConfig(strings.TrimPrefix(configOf(t, block+"\n"), "--config="), nil, nil); err != nil {
			t.Errorf("%s\n%v", block, err)
		}
	}
	if blocks != 4 {
		t.Errorf("there are %d blocks", blocks)
	}
	for _, name := range slices.Concat(loginSettings, loginLists) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s is not in docs/policies.md", name)
		}
	}
}
