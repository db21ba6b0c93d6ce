package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// idToken is the answer of a token endpoint with an ID token.
func idToken(token string) (int, string, string) {
	body, _ := json.Marshal(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token})
	return 200, "application/json", string(body)
}

// signedText is a JWT of the provider's with a payload as it stands.
func (h *tokens) signedText(payload string) string {
	text := b64(map[string]any{"alg": "RS256", "kid": "k"}) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, h.key, crypto.SHA256, sum[:])
	if err != nil {
		h.t.Fatal(err)
	}
	return text + "." + b64(signature)
}

// TestAmbiguousIDTokens: a claim that two readers could read in two ways is none: it comes
// twice, or once more in another case, which some libraries take for the same.
func TestAmbiguousIDTokens(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	client := webClients(t, address)["HTTP/1"]
	h := newTokens(t, p)
	// payload is a right one, with more at its end.
	payload := func(nonce, more string) string {
		text, _ := json.Marshal(h.claims(nonce, nil))
		return strings.TrimSuffix(string(text), "}") + more + "}"
	}
	with := func(more string) func(string) (int, string, string) {
		return func(nonce string) (int, string, string) { return idToken(h.signedText(payload(nonce, more))) }
	}
	if a, b := h.login(client, with(`,"x":{"sub":"root","y":[1]},"subject":"root"`)); a.status != 302 || b.xhr("/").body != "for mallory" {
		t.Fatalf("a token that is right: %d %s", a.status, a.body)
	}
	now := time.Now().Unix()
	for what, more := range map[string]string{
		"sub twice":                   `,"sub":"root"`,
		"sub twice, escaped":          `,"\u0073ub":"root"`,
		"sub in capitals":             `,"SUB":"root"`,
		"sub with a long s":           `,"` + "\u017f" + `ub":"root"`,
		"another aud in capitals":     `,"AUD":"serai"`,
		"another iss in capitals":     `,"Iss":"https://evil.example"`,
		"another exp in capitals":     fmt.Sprintf(`,"Exp":%d`, now+99999),
		"another nonce in capitals":   `,"Nonce":"x"`,
		"groups twice":                `,"groups":["admins"]`,
		"a member of an object twice": `,"realm_access":{"roles":["a"],"roles":["admins"]}`,
		"no UTF-8":                    ",\"x\":\"\xff\"",
		"half a character":            `,"x":"\ud800"`,
		"deep":                        `,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	} {
		if a, b := h.login(client, with(more)); a.status != 403 || b.cookie("__Host-serai-corp") != "" {
			t.Errorf("%s: answered %d %s with %q", what, a.status, a.body, a.fields["Set-Cookie"])
		}
	}
	// UserInfo, which a provider makes in another place, likewise.
	right := func(nonce string) (int, string, string) {
		return idToken(h.signed(map[string]any{"alg": "RS256", "kid": "k"}, h.claims(nonce, map[string]any{"groups": nil})))
	}
	for what, text := range map[string]string{
		"about nobody": `{"groups":["admins"]}`, "about a number": `{"sub":1,"groups":["admins"]}`, "about two": `{"sub":"ann","sub":"mallory","groups":["admins"]}`,
		"about two in cases": `{"sub":"ann","SUB":"mallory","groups":["admins"]}`, "about another": `{"sub":"mallory2","groups":["admins"]}`,
		"a list": `[]`, "null": `null`, "more behind it": `{"sub":"mallory"}{"sub":"root"}`,
	} {
		p.Fail("/userinfo", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, text)
		})
		if a, b := h.login(client, right); a.status != 403 && a.status != 503 || b.cookie("__Host-serai-corp") != "" {
			t.Errorf("UserInfo %s: answered %d %s", what, a.status, a.body)
		}
	}
	if n := i.count(); n != 1 {
		t.Errorf("%d requests have reached the instance", n)
	}
}

// TestTimesOfIDTokens: what is no time, or none in this life, is no expiry.
func TestTimesOfIDTokens(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	client := webClients(t, address)["HTTP/1"]
	h := newTokens(t, p)
	now := time.Now().Unix()
	for _, c := range []struct {
		claim string
		value any
		want  int
	}{
		{"exp", now - 30, 302}, // clocks differ
		{"exp", now - 120, 403}, {"exp", 0, 403}, {"exp", -1, 403}, {"exp", float64(now) + 300.5, 302}, {"exp", json.Number("1e999"), 403}, {"exp", json.Number("-1e300"), 403},
		{"exp", fmt.Sprint(now + 300), 302}, // a number in quotes is read as one, as others do
		{"exp", fmt.Sprint(now - 300), 403}, {"exp", "soon", 403}, {"exp", true, 403}, {"exp", []int64{now + 300}, 403}, {"exp", json.Number("18446744073709551616"), 403},
		{"iat", now + 30, 302}, {"iat", now + 120, 403}, {"nbf", now + 30, 302}, {"nbf", now + 3600, 403},
	} {
		a, _ := h.login(client, func(nonce string) (int, string, string) {
			return idToken(h.signed(map[string]any{"alg": "RS256", "kid": "k"}, h.claims(nonce, map[string]any{c.claim: c.value})))
		})
		if a.status != c.want {
			t.Errorf("%s %v: answered %d %s, want %d", c.claim, c.value, a.status, a.body, c.want)
		}
	}
}

// TestHostileKeysOfProviders: keys that anybody could sign with, secrets, and answers that
// have none let nobody in.
func TestHostileKeysOfProviders(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	secret := []byte("0123456789abcdef0123456789abcdef")
	shows := func(keys ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"keys": keys})
		}
	}
	for what, c := range map[string]struct {
		keys  func(h *tokens) http.HandlerFunc
		token func(h *tokens, nonce string) string
	}{
		"a secret": {func(*tokens) http.HandlerFunc {
			return shows(map[string]any{"kty": "oct", "kid": "k", "k": b64(secret)})
		}, func(h *tokens, nonce string) string {
			return signedHS256(secret, h.claims(nonce, nil))
		}},
		"an exponent of 1": {func(h *tokens) http.HandlerFunc {
			return shows(map[string]any{"kty": "RSA", "kid": "k", "n": b64(h.key.N.Bytes()), "e": "AQ"})
		}, func(h *tokens, nonce string) string { // with e = 1 the padded digest signs itself
			return signedByNobody(h.claims(nonce, nil), h.key.N.BitLen()/8)
		}},
		"1024 bits": {func(*tokens) http.HandlerFunc {
			return shows(map[string]any{"kty": "RSA", "kid": "k", "n": b64(weak.N.Bytes()), "e": "AQAB"})
		}, func(h *tokens, nonce string) string {
			h.key = weak
			return h.signed(map[string]any{"alg": "RS256", "kid": "k"}, h.claims(nonce, nil))
		}},
		"a page": {func(*tokens) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }
		}, right},
		"an error": {func(*tokens) http.HandlerFunc { return http.NotFound }, right},
		"too many": {func(*tokens) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `{"keys":[`)
				for range 100_000 {
					fmt.Fprintf(w, `{"kty":"oct","k":"%0100d"},`, 1)
				}
			}
		}, right},
		"elsewhere": {func(h *tokens) http.HandlerFunc {
			return http.RedirectHandler(h.p.URL+"/keys-of-others", http.StatusFound).ServeHTTP
		}, right},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := oidctest.New(t, callbackURL)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
			h := newTokens(t, p)
			p.Fail("/keys", c.keys(h))
			p.Fail("/keys-of-others", shows(map[string]any{"kty": "RSA", "kid": "k", "n": b64(h.key.N.Bytes()), "e": "AQAB"}))
			a, b := h.login(webClients(t, address)["HTTP/1"], func(nonce string) (int, string, string) { return idToken(c.token(h, nonce)) })
			if a.status != 403 && a.status != 503 || b.cookie("__Host-serai-corp") != "" {
				t.Errorf("answered %d %s with %q", a.status, a.body, a.fields["Set-Cookie"])
			}
		})
	}
}

func right(h *tokens, nonce string) string {
	return h.signed(map[string]any{"alg": "RS256", "kid": "k"}, h.claims(nonce, nil))
}

// signedByNobody is a token whose signature is the padded digest itself (RFC 8017 section
// 9.2), of so many bytes.
func signedByNobody(claims map[string]any, size int) string {
	text := b64(map[string]any{"alg": "RS256", "kid": "k"}) + "." + b64(claims)
	sum := sha256.Sum256([]byte(text))
	digest := append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}, sum[:]...)
	padded := append([]byte{0, 1}, []byte(strings.Repeat("\xff", size-3-len(digest)))...)
	return text + "." + b64(append(append(padded, 0), digest...))
}

// TestUnconfirmedAddressIsNoName: an operator may name users by their address, or let in a
// few addresses. One that its owner has not confirmed names nobody: anybody could write it
// into an account.
func TestUnconfirmedAddressIsNoName(t *testing.T) {
	t.Parallel()
	for _, block := range []string{"    user_claim = \"email\"\n", "    groups_claim = \"email\"\n    groups = [\"ann@example.org\"]\n"} {
		t.Run(strings.TrimSpace(block), func(t *testing.T) {
			t.Parallel()
			i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, block), behindProxy)
			h := webClients(t, address)["HTTP/1"]
			if a := newBrowser(t, p, h).visit("/", "ann"); a.status != 200 {
				t.Fatalf("with a confirmed address: %d %s", a.status, a.body)
			}
			before := i.count()
			p.Doubt("ann")
			if a := newBrowser(t, p, h).visit("/", "ann"); a.status != 403 || i.count() != before {
				t.Errorf("answered %d %s; the instance is told %v", a.status, a.body, i.last())
			}
		})
	}
}

// TestMixUp: a provider that says that it names itself in its answers (RFC 9207) does so in
// each: one without a name is another's.
func TestMixUp(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	p.Fail(metadataPath, describes(p, func(m map[string]any) {
		delete(m, "userinfo_endpoint")
		m["id_token_signing_alg_values_supported"] = []string{"RS256", "HS256", "none"}
		m["authorization_response_iss_parameter_supported"] = true
	}))
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, loginConfig(t, p, ""), behindProxy)
	h := newTokens(t, p)
	h.answer = func(nonce string) (int, string, string) { return idToken(right(h, nonce)) }
	client := webClients(t, address)["HTTP/1"]
	for iss, want := range map[string]int{
		"": 403, "&iss=": 403, "&iss=" + url.QueryEscape(p.URL+"/"): 403, "&iss=https%3A%2F%2Fevil.example": 403, "&ISS=" + url.QueryEscape(p.URL): 403,
		"&iss=" + url.QueryEscape(p.URL): 302,
	} {
		b := newBrowser(t, p, client)
		begun := b.send(b.navigation("GET", "https://"+authHost+"/", nil))
		to, err := url.Parse(begun.fields.Get("Location"))
		if err != nil || begun.status != 302 {
			t.Fatalf("answered %d %s", begun.status, begun.body)
		}
		h.nonce = to.Query().Get("nonce")
		if a := b.send(b.navigation("GET", callbackURL+"?code=c&state="+to.Query().Get("state")+iss, nil)); a.status != want {
			t.Errorf("iss %q: answered %d %s", iss, a.status, a.body)
		}
	}
	// None of the weak algorithms that it names counts.
	for what, token := range map[string]func(string) string{
		"HS256": func(nonce string) string { return signedHS256([]byte(oidctest.ClientSecret), h.claims(nonce, nil)) },
		"none": func(nonce string) string {
			return b64(map[string]any{"alg": "none"}) + "." + b64(h.claims(nonce, nil)) + "."
		},
	} {
		h.answer = func(nonce string) (int, string, string) { return idToken(token(nonce)) }
		b := newBrowser(t, p, client)
		to, _ := url.Parse(b.send(b.navigation("GET", "https://"+authHost+"/", nil)).fields.Get("Location"))
		h.nonce = to.Query().Get("nonce")
		if a := b.send(b.navigation("GET", callbackURL+"?code=c&state="+to.Query().Get("state")+"&iss="+url.QueryEscape(p.URL), nil)); a.status != 403 {
			t.Errorf("%s: answered %d %s", what, a.status, a.body)
		}
	}
}

// TestHostsOfLogins: where a browser comes back to is the host that the route was found by,
// whatever else the request says of hosts.
func TestHostsOfLogins(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	wild := i.registration("ingress.auth=corp", "ingress.w.host=*.wild.example", "ingress.w.auth=corp")
	regs := []nomad.Registration{wild}
	_, trusting := serveStatic(t, regs, loginConfig(t, p, ""), behindProxy)
	_, plain := serveStatic(t, regs, loginConfig(t, p, "    insecure = true\n"))
	for _, c := range []struct{ address, host, more, want string }{
		{trusting, authHost, "X-Forwarded-Proto: https\r\n", "https://" + authHost},
		{trusting, authHost + ":443", "X-Forwarded-Proto: https\r\n", "https://" + authHost},
		{trusting, "APP.example.ORG", "X-Forwarded-Proto: https\r\n", "https://" + authHost},
		{trusting, authHost, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n", "https://" + authHost},
		{trusting, authHost, "X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.1;host=evil.example;proto=https\r\n", "https://" + authHost},
		{trusting, authHost, "X-Forwarded-Proto: https\r\nX-Original-Url: https://evil.example/\r\nX-Rewrite-Url: /x\r\n", "https://" + authHost},
		{trusting, "a.wild.example", "X-Forwarded-Proto: https\r\n", "https://a.wild.example"},
		{plain, authHost, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n", "http://" + authHost},
		{plain, authHost + ":80", "", "http://" + authHost},
		// What is no host leads nowhere.
		{trusting, "evil@" + authHost, "X-Forwarded-Proto: https\r\n", ""},
		{trusting, authHost + "/evil", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, authHost + ":443@evil.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, authHost + "\r\nHost: evil.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, authHost + "?evil", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, authHost + "#evil", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, "evil.example#.wild.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, `evil.example\.wild.example`, "X-Forwarded-Proto: https\r\n", ""},
		{trusting, "evil.example%2f.wild.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, "evil.example:80.wild.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, "a,evil.example.wild.example", "X-Forwarded-Proto: https\r\n", ""},
		{trusting, "a b.wild.example", "X-Forwarded-Proto: https\r\n", ""},
	} {
		a := rawGot(t, c.address, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\nAccept: text/html\r\nConnection: close\r\n"+c.more+"\r\n")
		to, err := url.Parse(a.fields.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if back := to.Query().Get("redirect_uri"); c.want != "" && back != c.want+"/.serai/oidc/corp/callback" || c.want == "" && (back != "" || a.status == 200) {
			t.Errorf("%q with %q: answered %d, and comes back to %q", c.host, c.more, a.status, back)
		}
	}
	if i.count() > 0 {
		t.Error("a request has reached the instance")
	}
}

func signedHS256(secret []byte, claims map[string]any) string {
	text := b64(map[string]any{"alg": "HS256", "kid": "k"}) + "." + b64(claims)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + b64(m.Sum(nil))
}
